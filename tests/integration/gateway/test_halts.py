"""The kill switch: at once, for every layer, without a revision, and released with care."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from tests.fixtures.api import Api
from tests.integration.gateway.set_up import agree, furnish, guard, rows

pytestmark = pytest.mark.stack

LAYERS = [("strategy", "strategies"), ("group", "groups"), ("account", "accounts")]


def _halt(scope: str, object_id: str | None = None, state: str = "halted") -> dict[str, Any]:
    body = {"scope": scope, "state": state, "reason": "prices are wrong"}
    return body | ({"object_id": object_id} if object_id else {})


async def test_every_layer_is_halted_listed_and_released(api: Api):
    admin, made = api.as_("admin"), await furnish(api)
    assert (await admin.get("/v1/halts"))["items"] == []
    for scope, path in [("tenant", None), *LAYERS]:
        body = _halt(scope, made[path] if path else None)
        reply = await admin("POST", "/v1/halts", body)
        assert reply.status == 200, reply
        (listed,) = (await admin.get("/v1/halts"))["items"]
        assert listed == reply.json()
        assert (listed["scope"], listed["state"]) == (scope, "halted")
        assert listed["reason"] == "prices are wrong"
        assert listed["by"]["kind"] == "api"
        assert listed["since"] is not None
        release = {key: value for key, value in body.items() if key != "state"}
        released = await admin("POST", "/v1/halts/release", release)
        assert (released.status, released.json()["state"]) == (200, "active")
        assert (await admin.get("/v1/halts"))["items"] == []


async def test_the_same_halt_again_changes_nothing_and_answers_the_same(api: Api):
    admin, made = api.as_("admin"), await furnish(api)
    body = _halt("account", made["accounts"])
    first, again = [await admin("POST", "/v1/halts", body) for _ in range(2)]
    assert (first.status, first.json()) == (again.status, again.json())
    (count,) = rows(api, "SELECT count(*) FROM audit_inbox WHERE kind = 'kill_switch'")
    assert count == (1,)


async def test_a_halt_needs_a_reason_and_an_object(api: Api):
    admin, made = api.as_("admin"), await furnish(api)
    silent = _halt("account", made["accounts"]) | {"reason": ""}
    assert (await admin("POST", "/v1/halts", silent)).json()["field"] == "reason"
    assert (await admin("POST", "/v1/halts", _halt("group"))).json()["field"] == "object_id"
    strange = _halt("tenant", str(api.tenant("other")))
    assert (await admin("POST", "/v1/halts", strange)).json()["field"] == "object_id"


async def test_a_halt_moves_what_plans_look_at_and_not_the_document(api: Api):
    admin, made = api.as_("admin"), await furnish(api)
    strategy = f"/v1/strategies/{made['strategies']}"
    before = await admin.get(strategy)
    await admin("POST", "/v1/halts", _halt("account", made["accounts"]))
    after = await admin.get(strategy)
    assert after["version"] > before["version"]
    account = await admin.get(f"/v1/accounts/{made['accounts']}")
    assert (account["state"], account["revision"]) == ("halted", 2)
    history = await admin.get(f"/v1/accounts/{made['accounts']}/revisions")
    assert history["items"][0]["after"] == {"state": "halted"}
    back = await admin(
        "POST", f"/v1/accounts/{made['accounts']}/rollback", {"revision": 1}, {"if-match": '"2"'}
    )
    assert back.json()["state"] == "halted", "a rollback of settings releases nothing"


async def test_halts_hold_while_others_change_the_same_objects(api: Api):
    """Nobody who stops trading is told that something else was changed meanwhile."""
    admin, made = api.as_("admin"), await furnish(api)
    strategy = f"/v1/strategies/{made['strategies']}"
    group = f"/v1/groups/{made['groups']}"
    replies = await asyncio.gather(
        *(admin.change(strategy, "*", name=f"n{n}") for n in range(4)),
        *(admin.change(group, "*", limits={"max_order_quantity": str(n + 1)}) for n in range(4)),
        admin("POST", "/v1/halts", _halt("strategy", made["strategies"])),
        admin("POST", "/v1/halts", _halt("group", made["groups"])),
        admin("POST", "/v1/halts", _halt("tenant")),
    )
    assert [reply.status for reply in replies[-3:]] == [200, 200, 200]
    assert len((await admin.get("/v1/halts"))["items"]) == 3


async def test_a_halt_that_ends_up_in_a_deadlock_is_tried_again(api: Api):
    """Somebody holds the strategy and wants the account, the halt holds the account and wants the strategy."""
    admin, made = api.as_("admin"), await furnish(api)
    async with await psycopg.AsyncConnection.connect(api.database.superuser) as somebody:
        await somebody.execute(
            "UPDATE strategies SET name = 'x' WHERE strategy_id = %s", (made["strategies"],)
        )
        halt = asyncio.create_task(admin("POST", "/v1/halts", _halt("account", made["accounts"])))
        await asyncio.sleep(0.3)  # PostgreSQL looks for deadlocks a second after the wait began
        await somebody.execute(
            "UPDATE accounts SET name = 'y' WHERE account_id = %s", (made["accounts"],)
        )
    assert (await halt).status == 200
    ((state, name),) = rows(api, "SELECT state, name FROM accounts")
    assert (state, name) == ("halted", "y")


async def test_less_strict_is_a_release_and_more_strict_is_a_halt(api: Api):
    admin, made = api.as_("admin"), await furnish(api)
    account = made["accounts"]
    await admin("POST", "/v1/halts", _halt("account", account))
    softer = await admin("POST", "/v1/halts", _halt("account", account, "reducing"))
    assert (softer.status, softer.json()["code"]) == (409, "conflict")
    release = {"scope": "account", "object_id": account, "reason": "r", "state": "reducing"}
    assert (await admin("POST", "/v1/halts/release", release)).json()["state"] == "reducing"
    await admin("POST", "/v1/halts/release", release | {"state": "active"})
    stricter = await admin("POST", "/v1/halts/release", release)
    assert (stricter.status, stricter.json()["code"]) == (409, "conflict")


async def test_with_four_eyes_a_release_waits_and_a_halt_does_not(api: Api):
    admin, made = api.as_("admin"), await furnish(api)
    guard(api, "halt_release")
    for scope, object_id in (("tenant", None), ("strategy", made["strategies"])):
        body = _halt(scope, object_id)
        assert (await admin("POST", "/v1/halts", body)).status == 200
        release = {key: value for key, value in body.items() if key != "state"}
        reply = await admin("POST", "/v1/halts/release", release)
        assert (reply.status, reply.json()["status"]) == (202, "proposed")
        assert len((await admin.get("/v1/halts"))["items"]) == 1
        assert await agree(api, reply.json()["proposal_id"]) is None
        assert (await admin.get("/v1/halts"))["items"] == []


async def test_the_platforms_switch_is_the_operators_and_customers_see_it(api: Api):
    admin, platform = api.as_("admin"), api.as_("platform")
    assert (await admin("POST", "/v1/halts", _halt("platform"))).status == 403
    assert (await platform("POST", "/v1/halts", _halt("tenant"))).status == 403
    assert (await platform("POST", "/v1/halts", _halt("platform"))).status == 200
    assert (await admin.get("/v1/halts")) == {"items": [], "platform_state": "halted"}
    release = {"scope": "platform", "reason": "over"}
    assert (await platform("POST", "/v1/halts/release", release)).status == 200
    assert (await admin.get("/v1/halts"))["platform_state"] == "active"
