"""The kill switch: at once, for every layer, without a revision, and released with care."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import psycopg
import pytest

from fanout import wake
from tests.fixtures.api import Api
from tests.integration.gateway.set_up import agree, furnish, guard, rows

pytestmark = pytest.mark.stack

LAYERS = [("strategy", "strategies"), ("group", "groups"), ("account", "accounts")]


def _halt(scope: str, object_id: str | None = None, level: str = "block_all") -> dict[str, Any]:
    body = {"scope": scope, "level": level, "reason": "prices are wrong"}
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
        release = {key: value for key, value in body.items() if key != "level"}
        released = await admin("POST", "/v1/halts/release", release)
        assert (released.status, released.json()["state"]) == (200, "active")
        assert (await admin.get("/v1/halts"))["items"] == []


async def test_the_same_halt_again_changes_nothing_and_answers_the_same(api: Api):
    admin, made = api.as_("admin"), await furnish(api)
    body = _halt("account", made["accounts"])
    first, again = [await admin("POST", "/v1/halts", body) for _ in range(2)]
    assert (first.status, first.json()) == (again.status, again.json())
    (count,) = rows(api, "SELECT count(*) FROM audit_inbox WHERE kind = 'kill_switch'")
    assert count == (2,), "the change, and the intervention"
    assert rows(api, "SELECT level, state FROM interventions") == [("block_all", "done")]


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
        # Whose wait lasts so long first is ended: the halt's, however slow the machine is.
        await somebody.execute("SET LOCAL deadlock_timeout = '60s'")
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
    softer = await admin("POST", "/v1/halts", _halt("account", account, "no_open"))
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
        release = {key: value for key, value in body.items() if key != "level"}
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
    assert (await admin.get("/v1/halts")) == {
        "items": [], "platform_state": "halted", "platform_instruments": [],
    }  # fmt: skip
    release = {"scope": "platform", "reason": "over"}
    assert (await platform("POST", "/v1/halts/release", release)).status == 200
    assert (await admin.get("/v1/halts"))["platform_state"] == "active"


# ------------------------------------------------------------------ levels and interventions


LEVELS = {
    "no_open": "reducing",
    "block_all": "halted",
    "cancel_open": "reducing",
    "flatten": "reducing",
}


@pytest.mark.parametrize("level", LEVELS)
async def test_each_level_makes_its_state_and_leaves_an_intervention(api: Api, level: str):
    admin, made = api.as_("admin"), await furnish(api)
    reply = await admin("POST", "/v1/halts", _halt("strategy", made["strategies"], level))
    assert (reply.status, reply.json()["state"]) == (200, LEVELS[level])
    link = f"/v1/interventions/{reply.json()['intervention_id']}"
    assert reply.headers["location"] == link
    shown = await admin.get(link)
    assert (shown["level"], shown["scope"], shown["object_id"]) == (
        level, "strategy", made["strategies"],
    )  # fmt: skip
    assert shown["state"] == ("working" if level in ("cancel_open", "flatten") else "done")
    assert shown["reason"] == "prices are wrong"
    assert (await admin.get("/v1/interventions"))["items"][0]["intervention_id"] == (
        shown["intervention_id"]
    )
    assert (await admin.get(f"{link}/orders"))["items"] == []


async def test_the_state_of_a_layer_is_not_what_a_halt_says(api: Api):
    """One way to say it: the level."""
    body = {"scope": "tenant", "state": "halted", "reason": "r"}
    refused = await api.as_("admin")("POST", "/v1/halts", body)
    assert refused.status == 422


async def test_flatten_again_is_the_same_while_it_works_and_another_after_it(api: Api):
    admin = api.as_("admin")
    body = _halt("tenant", level="flatten")
    first, again = [(await admin("POST", "/v1/halts", body)).json() for _ in range(2)]
    assert first["intervention_id"] == again["intervention_id"]
    rows(api, "UPDATE interventions SET state = 'done', ended_at = now() RETURNING 1")
    anew = (await admin("POST", "/v1/halts", body)).json()
    assert anew["intervention_id"] > first["intervention_id"]
    assert (anew["state"], anew["since"]) == ("reducing", first["since"])


async def test_what_is_halted_is_flattened_without_becoming_less_strict(api: Api):
    admin, made = api.as_("admin"), await furnish(api)
    await admin("POST", "/v1/halts", _halt("account", made["accounts"]))
    reply = await admin("POST", "/v1/halts", _halt("account", made["accounts"], "flatten"))
    assert (reply.status, reply.json()["state"]) == (200, "halted")
    assert rows(api, "SELECT level, state FROM interventions ORDER BY intervention_id") == [
        ("block_all", "done"), ("flatten", "working"),
    ]  # fmt: skip


INSTRUMENT = {"scope": "instrument", "broker": "paper", "symbol": "BTC_USDT", "reason": "r"}


async def test_an_instrument_is_halted_listed_and_released_by_two(api: Api):
    admin = api.as_("admin")
    halted = (await admin("POST", "/v1/halts", INSTRUMENT | {"level": "block_all"})).json()
    (listed,) = (await admin.get("/v1/halts"))["items"]
    assert listed == halted
    assert (listed["scope"], listed["name"], listed["state"]) == (
        "instrument", "paper BTC_USDT", "halted",
    )  # fmt: skip
    guard(api, "halt_release")
    waits = await admin("POST", "/v1/halts/release", INSTRUMENT)
    assert (waits.status, len((await admin.get("/v1/halts"))["items"])) == (202, 1)
    assert await agree(api, waits.json()["proposal_id"]) is None
    assert (await admin.get("/v1/halts"))["items"] == []
    history = rows(
        api, "SELECT revision, after FROM revisions WHERE kind = 'instrument' ORDER BY 1"
    )
    assert history == [(1, {"state": "halted"}), (2, {"state": "active"})]


async def test_an_instrument_of_the_platform_is_seen_by_customers(api: Api):
    admin, platform = api.as_("admin"), api.as_("platform")
    reply = await platform("POST", "/v1/halts", INSTRUMENT | {"level": "no_open"})
    assert reply.status == 200, reply
    seen = await admin.get("/v1/halts")
    assert seen["items"] == []
    assert seen["platform_instruments"] == [
        {"broker": "paper", "symbol": "BTC_USDT", "state": "reducing"}
    ]
    released = await admin("POST", "/v1/halts/release", INSTRUMENT | {"state": "active"})
    assert released.json()["state"] == "active", "its own, which was never halted"
    assert len((await admin.get("/v1/halts"))["platform_instruments"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"broker": "paper"}, "symbol"),
        ({"broker": "nobody", "symbol": "X"}, "broker"),
        ({"broker": "paper", "symbol": "X", "object_id": str(UUID(int=7))}, "object_id"),
        ({"scope": "tenant", "symbol": "X"}, "broker"),
    ],
)
async def test_an_instrument_is_named_by_broker_and_symbol(api: Api, body, field):
    halt = {"scope": "instrument", "level": "block_all", "reason": "r"} | body
    refused = await api.as_("admin")("POST", "/v1/halts", halt)
    assert (refused.status, refused.json()["field"]) == (422, field)


@pytest.mark.parametrize("agreed", [False, True])
async def test_a_release_ends_what_is_under_way_also_by_a_second_persons_yes(
    api: Api, agreed: bool
):
    admin, made = api.as_("admin"), await furnish(api)
    body = _halt("strategy", made["strategies"], "flatten")
    flatten = (await admin("POST", "/v1/halts", body)).json()["intervention_id"]
    if agreed:
        guard(api, "halt_release")
    release = {key: value for key, value in body.items() if key != "level"}
    reply = await admin("POST", "/v1/halts/release", release)
    if agreed:
        assert (await admin.get(f"/v1/interventions/{flatten}"))["state"] == "working"
        assert await agree(api, reply.json()["proposal_id"]) is None
    assert (await admin.get(f"/v1/interventions/{flatten}"))["state"] == "released"


async def test_a_halt_tells_the_workers_after_its_commit(api: Api):
    """The wake-up finds the state committed: whoever hears it and looks sees it."""
    admin = api.as_("admin")
    before = await api.services.redis.xlen(wake.STREAM)
    await admin("POST", "/v1/halts", _halt("tenant"))
    entries = await api.services.redis.xrevrange(wake.STREAM, count=1)
    assert await api.services.redis.xlen(wake.STREAM) == before + 1
    told = wake.read(entries[0][1])
    assert told is not None
    assert told.kind == "halt"


async def test_interventions_of_others_are_not_there(api: Api):
    admin, other = api.as_("admin"), api.as_("other")
    made = (await admin("POST", "/v1/halts", _halt("tenant", level="flatten"))).json()
    assert (await other("GET", f"/v1/interventions/{made['intervention_id']}")).status == 404
    assert (await other.get("/v1/interventions"))["items"] == []
