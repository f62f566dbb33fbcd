"""What trades at SinoPac and for whom: months, shares, simulation, persons and their keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from fanout.ports import Acked, Found, Rejected
from fanout.proof import NotProven, Proven
from tests.contract.shioaji_venue import RICH, SYMBOL, ShioajiVenue, shioaji
from tests.contract.test_shioaji_faults import buy, find
from tests.fakes.orders import an_order, submitted


@pytest.fixture
async def venue() -> AsyncIterator[ShioajiVenue]:
    async with shioaji() as up:
        yield up


async def test_a_continuous_future_trades_the_contract_of_its_month(venue: ShioajiVenue) -> None:
    table = await venue.broker.instruments()
    assert table["TMFR1"].stands_for == SYMBOL
    assert table["TMFR1"].last_price == 23_000
    order = buy(venue, symbol="TMFR1")
    assert isinstance(await submitted(venue.broker, venue.account, order), Acked)
    assert isinstance(await find(venue, order), Found)
    (row,) = await venue.broker.positions(venue.account)
    assert (row.symbol, row.qty) == (SYMBOL, 2)


async def test_stocks_are_counted_in_shares(venue: ShioajiVenue) -> None:
    table = await venue.broker.instruments()
    assert (table["2330"].lot_step, table["2317"].lot_step) == (1000, 1)
    lots = an_order(venue.stocks, broker="shioaji", symbol="2330", order_qty=Decimal(3000))
    odd = an_order(
        venue.stocks, broker="shioaji", symbol="2317", order_qty=Decimal(30), ord_type="limit",
        price=Decimal(201),
    )  # fmt: skip
    for order in (lots, odd):
        outcome = await submitted(venue.broker, venue.stocks, order)
        assert isinstance(outcome, Acked), outcome
        assert outcome.report.cum_qty == order.order_qty
    rows = {row.symbol: row.qty for row in await venue.broker.positions(venue.stocks)}
    assert rows == {"2330": 3000, "2317": 30}
    equity = await venue.broker.equity(venue.stocks)
    assert equity is not None
    assert (equity.equity, equity.available) == (5_000_000, 5_000_000 - 3_000_000 - 6_000)
    at_market = an_order(venue.stocks, broker="shioaji", symbol="2317", order_qty=Decimal(30))
    refused = await submitted(venue.broker, venue.stocks, at_market)
    assert isinstance(refused, Rejected)
    assert refused.code == "unsupported_order"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"order_qty": Decimal("-1")}, "quantity"),
        ({"order_qty": Decimal("1.5")}, "quantity"),
        ({"ord_type": "limit", "price": Decimal("NaN")}, "price"),
        ({"ord_type": "limit", "price": None}, "price"),
        ({"ord_type": "limit", "price": Decimal(40_001)}, "price_limit"),
    ],
)
async def test_what_the_sdk_would_let_pass_is_refused_before_it(
    venue: ShioajiVenue, changed: dict[str, Any], code: str
) -> None:
    outcome = await submitted(venue.broker, venue.account, buy(venue, **changed))
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.left) == (code, False)
    assert not venue.exchange.limits.order_ops.worst


async def test_in_simulation_the_stated_equity_counts() -> None:
    async with shioaji(simulation=True) as venue:
        equity = await venue.broker.equity(venue.account)
        assert equity is not None
        assert equity.equity == venue.account.stated_equity


async def test_an_account_goes_to_its_own_person_and_tenant_alone(venue: ShioajiVenue) -> None:
    order = buy(venue)
    nobody = msgspec.structs.replace(venue.account, settings={"person": "wang", "account": RICH})
    answer = await submitted(venue.broker, nobody, order)
    assert isinstance(answer, Rejected)
    assert (answer.kind, answer.left) == ("permission", False)
    stranger = msgspec.structs.replace(venue.account, tenant_id=venue.account.account_id)
    assert isinstance(await submitted(venue.broker, stranger, order), Rejected)
    other = {"person": "chen", "account": "F002000-1"}
    foreign = msgspec.structs.replace(venue.account, settings=other)
    assert isinstance(await submitted(venue.broker, foreign, order), Rejected)
    assert not venue.exchange.orders


async def test_a_key_is_proven_by_the_session_that_is_logged_in_with_it(
    venue: ShioajiVenue,
) -> None:
    lease = datetime.now(UTC) + timedelta(seconds=30)
    proof = await venue.broker.prove(venue.account, test_order=None, not_after=lease)
    assert isinstance(proof, Proven)
    asked = await venue.broker.prove(venue.account, test_order="x", not_after=lease)
    assert isinstance(asked, NotProven)
