"""What every operation of the admin API does the same way, shown at strategies."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import psycopg
import pytest

from tests.fixtures.api import Api
from tests.integration.gateway.ingress import http_scope

pytestmark = pytest.mark.stack


async def test_a_strategy_is_made_read_changed_and_archived(api: Api):
    admin = api.as_("admin")
    made = await admin.make("/v1/strategies", name="trend", limits={"max_order_quantity": "5"})
    address = f"/v1/strategies/{made['strategy_id']}"
    assert (made["revision"], made["state"], made["limits"]) == (
        1,
        "active",
        {"max_order_quantity": "5"},
    )
    reply = await admin("GET", address)
    assert reply.headers["etag"] == '"1"'
    changed = await admin.change(address, 1, settings={"default_quantity": 2.50})
    assert changed.status == 200
    assert changed.json()["settings"] == {"default_quantity": "2.5"}
    assert changed.headers["etag"] == '"2"'
    gone = await admin.delete(address, 2)
    assert (gone.status, gone.body) == (204, b"")
    assert (await admin.get("/v1/strategies"))["items"] == []
    await admin.make("/v1/strategies", name="trend")  # the name is free again


async def test_of_two_who_change_at_once_the_second_is_told(api: Api):
    admin = api.as_("admin")
    made = await admin.make("/v1/strategies", name="trend")
    address = f"/v1/strategies/{made['strategy_id']}"
    replies = await asyncio.gather(*(admin.change(address, 1, name=f"n{n}") for n in range(4)))
    assert sorted(reply.status for reply in replies) == [200, 412, 412, 412]
    stale = next(reply for reply in replies if reply.status == 412)
    assert stale.json()["code"] == "stale_revision"
    missing = await admin("PATCH", address, {"name": "x"})
    assert (missing.status, missing.json()["code"]) == (428, "if_match_needed")


async def test_a_change_leaves_a_revision_and_an_audit_record_that_say_who_and_why(api: Api):
    admin = api.as_("admin")
    made = await admin.make("/v1/strategies", name="trend")
    address = f"/v1/strategies/{made['strategy_id']}"
    await admin(
        "PATCH", address, {"sequence": "fixed"},
        {"if-match": '"1"', "portcullis-reason": "zu schnell für A"},
    )  # fmt: skip
    history = (await admin.get(f"{address}/revisions"))["items"]
    assert [entry["revision"] for entry in history] == [2, 1]
    assert history[0]["before"]["sequence"] == "rotate"
    assert history[0]["after"]["sequence"] == "fixed"
    assert history[0]["why"] == "zu schnell für A"
    assert history[0]["actor"]["kind"] == "api"
    with psycopg.connect(api.database.superuser) as conn:
        rows = conn.execute(
            "SELECT payload FROM audit_inbox WHERE kind = 'admin.change' ORDER BY seq"
        ).fetchall()
    payload = msgspec.json.decode(rows[-1][0])
    assert (payload["object"], payload["revision"], payload["why"]) == (
        "strategy",
        2,
        "zu schnell für A",
    )


async def test_a_strategy_is_rolled_back_to_an_earlier_revision(api: Api):
    admin = api.as_("admin")
    made = await admin.make("/v1/strategies", name="trend")
    address = f"/v1/strategies/{made['strategy_id']}"
    await admin.change(address, 1, name="other", sequence="random")
    back = await admin("POST", f"{address}/rollback", {"revision": 1}, {"if-match": '"2"'})
    assert (back.json()["name"], back.json()["sequence"], back.json()["revision"]) == (
        "trend",
        "rotate",
        3,
    )


async def test_a_repeat_under_its_key_causes_nothing_new(api: Api):
    admin = api.as_("admin")
    key = {"idempotency-key": "one"}
    replies = await asyncio.gather(
        *(admin("POST", "/v1/strategies", {"name": "trend"}, key) for _ in range(5))
    )
    assert {reply.status for reply in replies} == {201}
    assert len({reply.body for reply in replies}) == 1
    assert [reply.headers.get("idempotency-replayed") for reply in replies].count("true") == 4
    other = await admin("POST", "/v1/strategies", {"name": "else"}, key)
    assert (other.status, other.json()["code"]) == (409, "idempotency_conflict")
    assert len((await admin.get("/v1/strategies"))["items"]) == 1


async def test_a_refusal_is_not_kept_under_a_key(api: Api):
    """It changed nothing, so the same key may carry the corrected request."""
    admin = api.as_("admin")
    key = {"idempotency-key": "two"}
    refused = await admin("POST", "/v1/strategies", {"name": ""}, key)
    assert (refused.status, refused.json()["field"]) == (422, "name")
    assert (await admin("POST", "/v1/strategies", {"name": "trend"}, key)).status == 201


async def test_an_unknown_member_is_refused_with_its_place(api: Api):
    reply = await api.as_("admin")("POST", "/v1/strategies", {"name": "a", "limits": {"max": 1}})
    assert reply.status == 422
    assert (reply.json()["code"], reply.json()["field"]) == ("invalid", "limits")
    assert "max" in reply.json()["detail"]


async def test_another_tenants_strategy_is_not_there(api: Api):
    theirs = await api.as_("other").make("/v1/strategies", name="theirs")
    address = f"/v1/strategies/{theirs['strategy_id']}"
    admin = api.as_("admin")
    assert (await admin("GET", address)).status == 404
    assert (await admin.change(address, "*", name="mine")).status == 404
    assert (await admin.delete(address)).status == 404
    assert (await admin.get("/v1/strategies"))["items"] == []


async def test_a_key_without_the_scope_is_told_which_one_is_missing(api: Api):
    reader = await api.key("admin", {"strategies:read"})
    assert (await reader("GET", "/v1/strategies")).status == 200
    reply = await reader("POST", "/v1/strategies", {"name": "a"})
    assert (reply.status, reply.json()["code"]) == (403, "forbidden")
    assert "strategies:write" in reply.json()["detail"]


async def test_a_page_goes_on_where_the_last_one_ended(api: Api):
    admin = api.as_("admin")
    for number in range(5):
        await admin.make("/v1/strategies", name=f"s{number}")
    names, path = [], "/v1/strategies?limit=2"
    while True:
        page = await admin.get(path)
        names += [item["name"] for item in page["items"]]
        if "next" not in page:
            break
        path = f"/v1/strategies?limit=2&cursor={page['next']}"
    assert names == ["s0", "s1", "s2", "s3", "s4"]


async def test_four_eyes_make_a_proposal_of_a_loosened_limit(api: Api):
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute(
            """UPDATE tenants SET settings = '{"four_eyes": ["limits"]}' WHERE tenant_id = %s""",
            (api.tenant(),),
        )
    admin = api.as_("admin")
    made = await admin.make("/v1/strategies", name="a", limits={"max_order_quantity": "5"})
    address = f"/v1/strategies/{made['strategy_id']}"
    tighter = await admin.change(address, 1, limits={"max_order_quantity": "4"})
    assert tighter.status == 200
    looser = await admin.change(address, 2, limits={"max_order_quantity": None})
    assert (looser.status, looser.json()["status"]) == (202, "proposed")
    assert (await admin.get(address))["limits"] == {"max_order_quantity": "4"}


async def test_a_body_that_does_not_come_is_not_waited_for(api: Api, monkeypatch):
    monkeypatch.setattr("gateway.admin.reading.BODY_TIMEOUT_S", 0.05)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {"authorization": f"Bearer {api.keys['admin']}", "content-type": "application/json"}
    await api.app(http_scope("POST", "/v1/strategies", headers), receive, send)
    assert (sent[0]["status"], msgspec.json.decode(sent[1]["body"])["code"]) == (
        408,
        "request_timeout",
    )


async def test_a_decimal_as_text_is_a_plain_number(api: Api):
    """Python would read `1_000`, ` 5` and other scripts' digits too: nobody is known to mean them."""
    admin = api.as_("admin")
    address = "/v1/strategies"
    for text in ("1_000", " 5", "٣", "NaN"):
        body = {"name": "loose", "settings": {"default_quantity": text}}
        reply = await admin("POST", address, body)
        assert (reply.status, reply.json()["field"]) == (422, "settings.default_quantity")
    made = await admin.make(address, name="trend", settings={"default_quantity": "1e1"})
    changed = await admin.change(
        f"{address}/{made['strategy_id']}", 1, settings={"default_quantity": "1_000"}
    )
    assert (changed.status, changed.json()["field"]) == (422, "settings.default_quantity")
