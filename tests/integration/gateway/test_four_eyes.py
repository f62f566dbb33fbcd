"""Which changes of what people set up wait for a second person, category by category, and which never do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.api import Api
from tests.integration.gateway.set_up import LIVE, PAPER, agree, furnish, guard, proposals

pytestmark = pytest.mark.stack

TIGHT = {"limits": {"max_order_quantity": "1"}}


async def _reasons(api: Api, reply: Any) -> set[str]:
    assert reply.status == 202, reply
    assert reply.json()["status"] == "proposed"
    assert reply.headers["location"] == f"/v1/proposals/{reply.json()['proposal_id']}"
    return set(proposals(api)[-1]["reasons"])


async def test_an_account_at_a_live_broker_waits_and_one_on_paper_does_not(api: Api):
    guard(api, "live")
    admin = api.as_("admin")
    await admin.make("/v1/accounts", name="paper", **PAPER)
    reply = await admin("POST", "/v1/accounts", {"name": "live", **LIVE})
    assert await _reasons(api, reply) == {"live"}
    assert len((await admin.get("/v1/accounts"))["items"]) == 1
    assert await agree(api, reply.json()["proposal_id"]) is None
    made = (await admin.get("/v1/accounts?name=live"))["items"][0]
    assert made["account_id"] == proposals(api)[-1]["object_id"]


async def test_a_live_account_follows_a_strategy_only_with_a_second_yes(api: Api):
    """Made enabled, or enabled later; made asleep and put to sleep it waits for nobody."""
    admin = api.as_("admin")
    strategy = (await admin.make("/v1/strategies", name="s"))["strategy_id"]
    account = (await admin.make("/v1/accounts", name="a", **LIVE))["account_id"]
    guard(api, "live")
    pair = {"strategy_id": strategy, "account_id": account}
    assert await _reasons(api, await admin("POST", "/v1/subscriptions", pair)) == {"live"}
    asleep = await admin.make("/v1/subscriptions", **pair, enabled=False)
    address = f"/v1/subscriptions/{asleep['subscription_id']}"
    woken = await admin.change(address, 1, enabled=True)
    assert await _reasons(api, woken) == {"live"}
    assert await agree(api, woken.json()["proposal_id"]) is None
    assert (await admin.get(address))["enabled"] is True
    assert (await admin.change(address, 2, enabled=False)).status == 200


@pytest.mark.parametrize("path", ["strategies", "groups", "accounts"])
async def test_a_limit_that_becomes_looser_waits_wherever_it_is(api: Api, path: str):
    admin, made = api.as_("admin"), await furnish(api)
    address = f"/v1/{path}/{made[path]}"
    assert (await admin.change(address, 1, **TIGHT)).status == 200
    guard(api, "limits")
    looser = await admin.change(address, 2, limits={"max_order_quantity": "2"})
    assert await _reasons(api, looser) == {"limits"}
    gone = await admin.change(address, 2, limits=None)
    assert await _reasons(api, gone) == {"limits"}
    back = await admin("POST", f"{address}/rollback", {"revision": 1}, {"if-match": '"2"'})
    assert await _reasons(api, back) == {"limits"}
    tighter = await admin.change(address, 2, limits={"max_order_quantity": "0.5"})
    assert tighter.status == 200


async def test_an_account_does_not_leave_a_groups_limits_or_questions_behind_alone(api: Api):
    admin = api.as_("admin")
    strict = await admin.make(
        "/v1/groups", name="strict", **TIGHT, settings={"needs_approval": True}
    )
    lax = await admin.make("/v1/groups", name="lax", limits={"max_order_quantity": "9"})
    account = await admin.make("/v1/accounts", name="a", **PAPER, group_id=strict["group_id"])
    address = f"/v1/accounts/{account['account_id']}"
    guard(api, "limits", "approvals")
    moved = await admin.change(address, 1, group_id=lax["group_id"])
    assert await _reasons(api, moved) == {"limits", "approvals"}
    assert await _reasons(api, await admin.change(address, 1, group_id=None)) == {
        "limits",
        "approvals",
    }


async def test_a_move_under_as_tight_a_limit_of_ones_own_waits_for_nobody(api: Api):
    admin = api.as_("admin")
    strict = await admin.make("/v1/groups", name="strict", **TIGHT)
    body = {"name": "a", **PAPER, **TIGHT, "group_id": strict["group_id"]}
    account = await admin.make("/v1/accounts", **body)
    guard(api, "limits")
    moved = await admin.change(f"/v1/accounts/{account['account_id']}", 1, group_id=None)
    assert moved.status == 200


@pytest.mark.parametrize("path", ["strategies", "groups", "subscriptions"])
async def test_not_asking_a_person_any_more_waits_for_a_second_one(api: Api, path: str):
    admin, made = api.as_("admin"), await furnish(api)
    address = f"/v1/{path}/{made[path]}"
    guard(api, "approvals")
    asks = await admin.change(address, 1, settings={"needs_approval": True})
    assert asks.status == 200
    for answer in (False, None):
        stops = await admin.change(address, 2, settings={"needs_approval": answer})
        assert await _reasons(api, stops) == {"approvals"}


async def test_a_subscription_that_overrules_the_question_of_its_group_waits(api: Api):
    admin, made = api.as_("admin"), await furnish(api)
    guard(api, "approvals")
    overrules = await admin.change(
        f"/v1/subscriptions/{made['subscriptions']}", 1, settings={"needs_approval": False}
    )
    assert await _reasons(api, overrules) == {"approvals"}


async def test_what_could_not_be_done_is_said_before_anybody_is_asked(api: Api):
    """A name in use, and a subscription that would lack a value: no proposal is left behind."""
    admin, made = api.as_("admin"), await furnish(api)
    await admin.make("/v1/accounts", name="taken", **LIVE)
    guard(api, "live", "approvals")
    taken = await admin("POST", "/v1/accounts", {"name": "taken", **LIVE})
    assert (taken.status, taken.json()["code"]) == (409, "conflict")
    lacking = await admin.change(
        f"/v1/subscriptions/{made['subscriptions']}", 1,
        settings={"needs_approval": False, "use_signal_quantity": False},
    )  # fmt: skip
    assert (lacking.status, lacking.json()["code"]) == (422, "unresolvable")
    assert proposals(api) == []


async def test_an_account_does_not_leave_a_halted_group_alone(api: Api):
    """Moving it out would be a release that nobody agreed to."""
    admin, made = api.as_("admin"), await furnish(api)
    stop = {"scope": "group", "object_id": made["groups"], "level": "block_all", "reason": "fire"}
    assert (await admin("POST", "/v1/halts", stop)).status == 200
    guard(api, "halt_release")
    moved = await admin.change(f"/v1/accounts/{made['accounts']}", 1, group_id=None)
    assert await _reasons(api, moved) == {"halt_release"}


@pytest.mark.parametrize(
    "change", [{"leverage": "3"}, {"stated_equity": "200"}, {"stated_equity": None}]
)
async def test_what_makes_every_order_larger_waits_as_a_limit_does(
    api: Api, change: dict[str, Any]
):
    admin = api.as_("admin")
    account = await admin.make("/v1/accounts", name="a", **PAPER, stated_equity="100", leverage="2")
    address = f"/v1/accounts/{account['account_id']}"
    guard(api, "limits")
    assert await _reasons(api, await admin.change(address, 1, **change)) == {"limits"}
    smaller = await admin.change(address, 1, leverage="1", stated_equity="50")
    assert smaller.status == 200
