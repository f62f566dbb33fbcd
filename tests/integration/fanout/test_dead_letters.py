"""What a signal left undone is listed with its reason, previewed, and replayed once, and nothing is doubled."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from fanout import dead_letter_rows
from fanout.breaker import BreakerSettings
from gateway.admin.app import admin_app
from gateway.admin.operation import Services
from tenancy.clock import SystemClock
from tests.fakes.vault import Vault
from tests.fixtures.persons import signed_in

DONE = "SELECT count(*) FROM signal_outcomes WHERE done_at IS NULL"
PATIENT = BreakerSettings(account_failures=1000, broker_failures=1000)
"""No breaker opens: an order's deadline ends what is tried."""
QUANTITIES = "SELECT account_id::text, sum(cum_qty) FROM orders GROUP BY 1"


@pytest.fixture
async def services(admin):
    vault = Vault()
    nowhere: Redis = Redis(
        unix_socket_path="/nonexistent/redis.sock"
    )  # the sweep finds what is sent
    yield Services(
        database=admin, redis=nowhere, enroller=vault, signer=vault, clock=SystemClock(),
        brokers=("gateio",), hooks_base_url="https://hooks.example",
    )  # fmt: skip
    await nowhere.aclose()


@pytest.fixture
def app(services):
    return admin_app(services, checks={})


@pytest.fixture
async def ann(bench, app, services):
    await bench.set_up(3)
    return await signed_in(app, services, bench.scope, ["trader"])


async def ended(bench: Any, **fields: Any) -> str:
    """A signal of which nothing is left to happen."""
    signal = await bench.signal(**fields)
    await bench.until("SELECT count(*) FROM signals WHERE state = 'accepted'", 0)
    await bench.until(DONE, 0)
    return str(signal)


async def rejected_once(bench: Any, ann: Any) -> tuple[str, str]:
    """A signal that one of three accounts' broker refused; the signal and that account."""
    bench.broker.faults.append("reject")
    signal = await ended(bench, quantity=2)
    (account,) = (await ann.get(f"/v1/dead-letters/{signal}"))["items"]
    return signal, account["account_id"]


async def preview(ann: Any, signal: str, *accounts: str) -> Any:
    chosen = {"account_ids": list(accounts)} if accounts else {}
    reply = await ann("POST", f"/v1/dead-letters/{signal}/preview", chosen)
    assert reply.status == 200, reply
    return reply.json()


async def replay(ann: Any, signal: str, preview_id: str) -> Any:
    return await ann(
        "POST",
        f"/v1/dead-letters/{signal}/replay",
        {"preview": preview_id, "reason": "funds are there"},
    )


async def test_what_was_refused_is_listed_previewed_and_replayed_once(bench, ann):
    async with bench.worker():
        signal, account = await rejected_once(bench, ann)
        (letter,) = (await ann.get("/v1/dead-letters"))["items"]
        assert (letter["signal_id"], letter["reasons"]) == (signal, {"rejected": 1})
        (dead,) = (await ann.get(f"/v1/dead-letters/{signal}"))["items"]
        assert dead["text"] == "INSUFFICIENT_AVAILABLE: not enough"
        assert [leg["order_qty"] for leg in dead["legs"]] == ["2"]
        seen = await preview(ann, signal)
        assert seen["account_ids"] == [account]
        assert [(e["account_id"], e["legs"][0]["order_qty"]) for e in seen["would"]["entries"]] == [
            (account, "2")
        ]
        reply = await replay(ann, signal, seen["preview"])
        assert reply.status == 201, reply
        new = reply.json()["replay_id"]
        await bench.until(DONE, 0)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 3)
        again = await replay(ann, signal, seen["preview"])
        assert (again.status, again.json()["code"]) == (409, "preview_over")
        after = await preview(ann, signal)
        assert (after["preview"], after["account_ids"]) == (None, [])
        assert after["left_out"] == [
            {"account_id": account, "why_not": f"it was replayed as signal {new}"}
        ]
        (told,) = (await ann.get(f"/v1/dead-letters/{signal}"))["items"]
        assert told["replay_id"] == new
    assert {qty for _, qty in await bench.rows(QUANTITIES)} == {Decimal(2)}
    kinds = await bench.rows(
        "SELECT kind FROM audit_inbox WHERE kind IN ('signal.accepted', 'signal.replayed') ORDER BY seq"
    )
    assert kinds == [("signal.accepted",), ("signal.replayed",)]


async def test_what_was_not_sent_because_the_broker_was_away_is_a_dead_letter(bench, ann):
    bench.settings = type(bench.settings)(
        **{n: getattr(bench.settings, n) for n in bench.settings.__struct_fields__}
        | {"open_window_s": 1.5, "breaker": PATIENT}
    )
    bench.broker.faults.extend(["unsent"] * 100)
    async with bench.worker():
        signal = await ended(bench, quantity=1)
        (letter,) = (await ann.get("/v1/dead-letters"))["items"]
        assert (letter["accounts"], letter["reasons"]) == (3, {"unsent": 3})
        bench.broker.faults.clear()
        one = str(bench.accounts[1])
        seen = await preview(ann, signal, one)
        assert (await replay(ann, signal, seen["preview"])).status == 201
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
        rest = await preview(ann, signal)
        assert set(rest["account_ids"]) == {str(bench.accounts[0]), str(bench.accounts[2])}
    assert [str(order.account_id) for order in bench.broker.executed] == [one]


async def test_of_a_flip_whose_first_leg_was_done_only_the_second_is_replayed(bench, ann):
    async with bench.worker():
        await ended(bench, quantity=3)
        bench.broker.faults.extend(["ok", "ok", "ok", "reject", "reject", "reject"])
        signal = await ended(bench, action="sell", quantity=5)
        dead = (await ann.get(f"/v1/dead-letters/{signal}"))["items"]
        assert [[leg["leg"] for leg in one["legs"]] for one in dead] == [[1], [1], [1]]
        seen = await preview(ann, signal)
        legs = [
            [(leg["side"], leg["order_qty"]) for leg in e["legs"]] for e in seen["would"]["entries"]
        ]
        assert legs == [[("sell", "5")]] * 3
        assert (await replay(ann, signal, seen["preview"])).status == 201
        await bench.until("SELECT count(*) FROM positions WHERE qty = -5", 3)
    sold = [order for order in bench.broker.executed if order.side == "sell"]
    assert sorted(order.order_qty for order in sold) == [3, 3, 3, 5, 5, 5]


async def test_whose_plan_left_it_out_for_what_passes_is_replayed(bench, ann):
    async with bench.worker():
        await bench.rows(
            "UPDATE accounts SET state = 'halted' WHERE name = 'account 0' RETURNING 1"
        )
        signal = await ended(bench, quantity=1)
        (dead,) = (await ann.get(f"/v1/dead-letters/{signal}"))["items"]
        assert (dead["reason"], dead["legs"]) == ("account_halted", [])
        still = await preview(ann, signal)
        assert still["preview"] is None
        assert still["left_out"][0]["why_not"] == "nothing would be sent: account_halted"
        await bench.rows("UPDATE accounts SET state = 'active' RETURNING 1")
        seen = await preview(ann, signal)
        assert (await replay(ann, signal, seen["preview"])).status == 201
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 3)
    assert {qty for _, qty in await bench.rows(QUANTITIES)} == {Decimal(1)}


async def test_what_is_open_or_in_doubt_is_not_replayed(bench, ann):
    bench.broker.faults.extend(["reject", "lost_before"])
    bench.broker.finds.extend(["unproven"] * 1000)
    async with bench.crashing_worker() as crash:
        signal = str(await bench.signal(quantity=1))
        await bench.until("SELECT count(*) FROM orders WHERE state = 'in_doubt'", 1)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'rejected'", 1)
        await crash()
    seen = await preview(ann, signal)
    assert (seen["preview"], seen["account_ids"]) == (None, [])
    (left,) = seen["left_out"]
    assert left["why_not"] == "something of the signal is left to happen: wait for its outcome"


async def test_what_would_be_another_thing_than_was_shown_is_not_sent(bench, ann):
    """Between the two steps the account came to hold a position on that side."""
    async with bench.worker():
        signal, account = await rejected_once(bench, ann)
        seen = await preview(ann, signal, account)
        await ended(bench, quantity=4)
        reply = await replay(ann, signal, seen["preview"])
        assert (reply.status, reply.json()["code"]) == (409, "preview_over")
        assert "position_exists" in reply.json()["detail"]
    assert await bench.rows("SELECT count(*) FROM signal_replays") == [(0,)]
    assert await bench.rows("SELECT count(*) FROM signals WHERE origin = 'replay'") == [(0,)]


async def test_two_people_who_replay_at_once_send_one(bench, ann, app, services):
    ben = await signed_in(app, services, bench.scope, ["trader"], 2)
    async with bench.worker():
        signal, _ = await rejected_once(bench, ann)
        previews = [(who, (await preview(who, signal))["preview"]) for who in (ann, ben)]
        assert (await replay(ben, signal, previews[0][1])).json()["code"] == "preview_over"
        replies = await asyncio.gather(*(replay(who, signal, one) for who, one in previews))
        assert sorted(reply.status for reply in replies) == [201, 409]
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 3)
        await bench.until(DONE, 0)
    assert len(bench.broker.executed) == 3


async def test_the_database_itself_refuses_a_second_replay(bench, ann, admin):
    """Whatever a program forgets to look at: the key is there."""
    async with bench.worker():
        signal, _ = await rejected_once(bench, ann)
        assert (await replay(ann, signal, (await preview(ann, signal))["preview"])).status == 201
    with pytest.raises(Exception, match=dead_letter_rows.ONCE):
        await bench.rows(
            "INSERT INTO signal_replays SELECT * FROM signal_replays RETURNING signal_id"
        )


async def test_a_share_of_a_total_that_the_others_have_is_not_replayed(bench, ann):
    """Six lots over three accounts were two each; the whole six are not for the one that was left."""
    async with bench.worker():
        bench.broker.faults.append("reject")
        signal = await ended(bench, quantity=6, quantityType="block_equal")
        (dead,) = (await ann.get(f"/v1/dead-letters/{signal}"))["items"]
        assert dead["legs"][0]["order_qty"] == "2"
        seen = await preview(ann, signal)
        assert seen["preview"] is None
        assert "it would buy 6 now, and 2 were left undone" in seen["left_out"][0]["why_not"]


async def test_another_tenant_sees_no_dead_letter_and_replays_none(bench, ann, app, services):
    async with bench.worker():
        signal, _ = await rejected_once(bench, ann)
    bench.accounts.clear()
    await bench.set_up(1, tenant="Other")
    other = await signed_in(app, services, bench.scope, ["admin"], 3)
    assert (await other.get("/v1/dead-letters"))["items"] == []
    path = f"/v1/dead-letters/{signal}"
    assert (await other("GET", path)).status == 404
    assert (await other("POST", f"{path}/preview", {})).status == 404
    assert (await replay(other, signal, str(bench.strategy))).status == 404
    viewer = await signed_in(app, services, bench.scope, ["viewer"], 4)
    assert (await viewer("POST", f"{path}/preview", {})).status == 403
