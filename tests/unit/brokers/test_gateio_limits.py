"""Each kind of endpoint has a limit of its own, and what Gate says of it goes back where it came from."""

from __future__ import annotations

import asyncio

import pytest

from fanout.abilities import Protection
from fanout.brokers.gate.request import Request
from fanout.brokers.gateio import account_wire, triggers, wire
from fanout.brokers.gateio.limits import Limits
from fanout.budget import Key
from fanout.ports import Acked
from tests.fakes.orders import submitted
from tests.fakes.scripted_http import Seen, reply
from tests.unit.brokers.scripted_gate import ACCOUNT, ACK, ORDER, at_gate, gate_order, settings

LIMITS = Limits(settings("https://api.gateio.ws"))


def trail() -> Request:
    wanted = Protection(
        cl_ord_id="a", symbol="B", side="sell", qty=ORDER.order_qty, stop_px=None, target_px=None,
        trail_percent=ORDER.order_qty,
    )  # fmt: skip
    return triggers.legs("usdt", wanted)[0].request


def test_placing_and_amending_share_one_limit_and_cancelling_has_its_own() -> None:
    amend = Request("PUT", "/api/v4/futures/usdt/orders/1")
    assert LIMITS.of(wire.place("usdt", ORDER)) is LIMITS.of(amend) is LIMITS.placing
    for cancel in (
        wire.one_order("usdt", "DELETE", "1"),
        wire.cancel_all("usdt", None),
        wire.cancel_batch("usdt", ["1"]),
        triggers.take_back("usdt", "price", "1"),
        triggers.take_back("usdt", "trail", "1"),
    ):
        assert LIMITS.of(cancel) is LIMITS.cancelling


def test_every_other_endpoint_counts_by_itself() -> None:
    kinds = [
        wire.one_order("usdt", "GET", "1"),
        wire.my_trades("usdt", "B", 0),
        account_wire.account("usdt"),
        account_wire.list_positions("usdt", 0),
        account_wire.set_position_mode("usdt", hedge=True),
        trail(),
        triggers.list_price_orders("usdt", "B", 0),
        wire.account_detail(),
    ]
    budgets = [LIMITS.of(request) for request in kinds]
    assert len({id(budget) for budget in budgets}) == len(kinds)
    assert LIMITS.of(wire.one_order("usdt", "GET", "2")) is budgets[0]
    assert LIMITS.placing not in budgets
    assert LIMITS.cancelling not in budgets


class Counted:
    """A Pace that writes down what it is asked and told."""

    def __init__(self) -> None:
        self.waits: list[tuple[Key, bool]] = []
        self.hints: list[int] = []

    async def wait(self, key: Key, *, closes: bool = False) -> None:
        self.waits.append((key, closes))

    def hint(self, key: Key, *, remaining: int, reset_in_s: float) -> None:
        self.hints.append(remaining)


async def test_a_budget_that_is_handed_in_is_the_one_for_placing() -> None:
    shared = Counted()
    limited = reply(
        201,
        gate_order(),
        X_Gate_RateLimit_Requests_Remain="7",
        X_Gate_RateLimit_Reset_Timestamp="4102444800",
    )
    async with at_gate(lambda seen: limited, budgets=shared) as (broker, _):
        await broker.turn(ACCOUNT, closes=True)
        assert isinstance(await submitted(broker, ACCOUNT, ORDER), Acked)
    assert shared.waits == [(ACCOUNT.account_id, True)]
    assert shared.hints == [7]


async def test_gates_word_on_cancels_slows_cancels_and_nothing_else() -> None:
    def script(seen: Seen) -> bytes | str:
        if seen.method != "DELETE":
            return ACK
        spent = {
            "X_Gate_RateLimit_Requests_Remain": "0",
            "X_Gate_RateLimit_Reset_Timestamp": "4102444800",
        }
        return reply(200, gate_order(finish_as="cancelled", left=1), **spent)

    async with at_gate(script) as (broker, _):
        await broker.cancel(ACCOUNT, ORDER)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(broker.cancel(ACCOUNT, ORDER), 0.05)
        await asyncio.wait_for(broker.turn(ACCOUNT), 1)
        assert isinstance(await submitted(broker, ACCOUNT, ORDER), Acked)


async def test_the_instrument_table_says_its_age() -> None:
    async with at_gate(lambda seen: ACK) as (broker, _):
        await broker.instruments()
        assert 0 <= broker.instruments_age_s() < 5
        assert "instruments 0." in repr(broker)


async def test_positions_are_read_to_the_last_page() -> None:
    def script(seen: Seen) -> bytes | str:
        first = int(seen.target.rsplit("=", 1)[1])
        many = range(first, min(first + 100, 250))
        return reply(200, [{"contract": f"C{n}_USDT", "size": "1"} for n in many])

    async with at_gate(script) as (broker, _):
        held = await broker.positions(ACCOUNT)
    assert len({one.symbol for one in held}) == 250
