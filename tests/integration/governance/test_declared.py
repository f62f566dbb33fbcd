"""A declared configuration under four eyes: the whole file is one proposal, and one yes carries it out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.fixtures.api import Api, Client
from tests.fixtures.persons import People
from tests.integration.gateway.ingress import Reply
from tests.integration.governance.test_proposals import guard, records

pytestmark = pytest.mark.stack

BEFORE: dict[str, Any] = {
    "strategies": [
        {"name": "a", "limits": {"max_order_quantity": "5"}},
        {"name": "b", "limits": {"max_order_quantity": "5"}},
    ]
}
LOOSER: dict[str, Any] = {
    "strategies": [
        {"name": "a", "limits": {"max_order_quantity": "9"}},
        {"name": "b", "limits": {"max_order_quantity": "4"}},
        {"name": "c"},
    ],
    "accounts": [{"name": "A", "broker": "paper", "currency": "USDT"}],
    "subscriptions": [{"strategy": "c", "account": "A", "settings": {"override_quantity": "1"}}],
}


async def put(client: Client, document: dict[str, Any]) -> Reply:
    return await client("PUT", "/v1/configuration", document, {"if-match": "*"})


async def proposed(api: Api, who: Client) -> str:
    assert (await put(who, BEFORE)).status == 200
    guard(api, "limits")
    reply = await put(who, LOOSER)
    assert (reply.status, reply.json()["status"]) == (202, "proposed")
    return str(reply.json()["proposal_id"])


async def limits(api: Api) -> dict[str, str]:
    items = (await api.as_("admin").get("/v1/strategies"))["items"]
    return {item["name"]: item["limits"].get("max_order_quantity", "") for item in items}


async def test_the_whole_file_waits_and_one_yes_carries_it_out(api: Api, people: People):
    anna, ben = await people("admin", ["admin"]), await people("admin", ["admin"])
    proposal = await proposed(api, anna)
    assert await limits(api) == {"a": "5", "b": "5"}
    shown = await ben.get(f"/v1/proposals/{proposal}")
    assert shown["reasons"] == ["limits"]
    words = [one["words"] for one in shown["differences"]]
    assert "strategies.a.limits.max_order_quantity changes from 5 to 9." in words
    reply = await ben("POST", f"/v1/proposals/{proposal}/approve", {"comment": "fine"})
    assert (reply.status, reply.json()["state"]) == (200, "applied"), reply.json()
    assert await limits(api) == {"a": "9", "b": "4", "c": ""}
    changes = records(api, "admin.change")[-5:]
    assert [change["object"] for change in changes] == [
        "strategy", "strategy", "strategy", "account", "subscription",
    ]  # fmt: skip
    assert {change["approved_by"]["id"] for change in changes} == {str(ben.person_id)}
    assert {change["act"]["id"] for change in changes} == {str(anna.person_id)}


async def test_nothing_is_done_where_something_of_it_has_moved_meanwhile(api: Api, people: People):
    anna, ben = await people("admin", ["admin"]), await people("admin", ["admin"])
    proposal = await proposed(api, anna)
    tighter = msgspec.json.decode(msgspec.json.encode(BEFORE))
    tighter["strategies"][1]["limits"]["max_order_quantity"] = "1"
    assert (await put(anna, tighter)).status == 200
    reply = await ben("POST", f"/v1/proposals/{proposal}/approve", {})
    assert (reply.status, reply.json()["code"]) == (409, "proposal_failed")
    assert await limits(api) == {"a": "5", "b": "1"}


async def test_what_the_file_does_not_touch_may_move_meanwhile(api: Api, people: People):
    anna, ben = await people("admin", ["admin"]), await people("admin", ["admin"])
    proposal = await proposed(api, anna)
    await anna.make("/v1/groups", name="another")
    reply = await ben("POST", f"/v1/proposals/{proposal}/approve", {})
    assert reply.status == 200, reply.json()


async def test_the_difference_says_beforehand_that_a_second_person_is_asked(
    api: Api, people: People
):
    anna = await people("admin", ["admin"])
    await put(anna, BEFORE)
    guard(api, "limits")
    reply = await anna("POST", "/v1/configuration/difference", LOOSER)
    assert reply.json()["second_person"] == ["limits"]
    assert len(reply.json()["changes"]) == 5


async def test_giving_up_four_eyes_by_a_file_needs_the_second_person_too(api: Api, people: People):
    anna = await people("admin", ["admin"])
    guard(api, "limits")
    assert (await put(anna, {"tenant": {"settings": {}}})).status == 202
