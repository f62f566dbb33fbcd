"""A broker's adapter on its simulator, and beside it paper that imitates it: the same orders to both.

What is compared is what execution goes by: the kind of the outcome, its label, what was filled, what is
held. Prices of fills are not: paper has quotes and no depth.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import msgspec

from fanout.brokers.paper.adapter import PaperBroker
from fanout.brokers.paper.rules import Imitated
from fanout.brokers.paper.settings import PaperInstrument, PaperSettings, PaperTick
from fanout.order import Order
from fanout.ports import (
    Acked,
    Broker,
    BrokerAccount,
    CancelDone,
    CancelOutcome,
    Found,
    Instrument,
    Lookup,
    Outcome,
    Rejected,
    Report,
)
from tenancy.clock import SystemClock
from tests.contract import venues
from tests.contract.shioaji_venue import shioaji
from tests.contract.venues import Venue
from tests.fakes.orders import an_order, submitted

LIVE: dict[Imitated, Callable[[], AbstractAsyncContextManager[Venue]]] = {
    "gateio": venues.gateio,
    "gateio_spot": lambda: venues.gateio_spot(points=False),
    "shioaji": shioaji,
}
MARGINS = {"TMF": "5", "TXF": "100"}
"""As a_market() of shioaji_venue.py has them."""

POOR = Decimal("0.01")
"""What the venues' poor accounts have."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """An order. `at`: of a limit order, its price as a part of the first market price, on the tick."""

    side: str = "buy"
    qty: str = "10"
    at: str | None = None
    off_tick: bool = False
    price: str | None = None
    """In place of `at`: as it is."""
    ord_type: str | None = None
    tif: str = "gtc"
    reduce: bool = False
    symbol: str | None = None
    poor: bool = False
    again: int | None = None
    """The ClOrdID of that order, counted from 0."""


class Move(msgspec.Struct, frozen=True):
    """The market, as a part of the first price."""

    to: str


class Cancel(msgspec.Struct, frozen=True):
    """Of that order, counted from 0."""

    of: int


Step = Place | Move | Cancel
Told = tuple[Any, ...]


class Twins(msgspec.Struct, frozen=True, kw_only=True):
    """Both, and the price and tick that they started with."""

    live: Venue
    paper: PaperBroker
    first: Decimal
    tick: Decimal

    async def run(self, steps: Sequence[Step]) -> tuple[list[Told], list[Told]]:
        """What each was told, step by step, and what it holds in the end."""
        orders: list[Order] = []
        live: list[Told] = []
        paper: list[Told] = []
        for step in steps:
            if isinstance(step, Move):
                await self._move(step)
            elif isinstance(step, Cancel):
                if step.of < len(orders):
                    order = orders[step.of]
                    live.append(canceled(await self._live.cancel(self.live.account, order)))
                    paper.append(canceled(await self.paper.cancel(self.live.account, order)))
            else:
                order = self._order(step, orders)
                orders.append(order)
                account = self.live.poor if step.poor else self.live.account
                live.append(told(await submitted(self._live, account, order)))
                if step.poor:
                    account = msgspec.structs.replace(account, stated_equity=POOR)
                paper.append(told(await submitted(self.paper, account, order)))
        for told_by, broker in ((live, self._live), (paper, self.paper)):
            names = [order.cl_ord_id for order in orders]
            told_by += await _state(broker, self.live.account, names)
        for order, was in zip(orders, [one for one in live if one[0] in OUTCOMES], strict=False):
            if was[0] == "Acked":
                live.append(await self._found(self._live, order))
                paper.append(await self._found(self.paper, order))
        return live, paper

    @property
    def _live(self) -> Broker:
        return self.live.broker

    async def _found(self, broker: Broker, order: Order) -> Told:
        return looked_up(await broker.find(self.live.account, order, sent_by=datetime.now(UTC)))

    async def _move(self, step: Move) -> None:
        price = self._on_tick(step.to)
        await self.live.move(price)
        self.paper.move(self.live.symbol, price)
        await self.paper.open_orders(self.live.account)  # it is shown every price

    def _on_tick(self, part: str) -> Decimal:
        steps = self.first * Decimal(part) / self.tick
        return steps.to_integral_value(ROUND_FLOOR) * self.tick

    def _order(self, step: Place, before: Sequence[Order]) -> Order:
        price = None if step.at is None else self._on_tick(step.at)
        if step.price is not None:
            price = Decimal(step.price)
        if step.off_tick and price is not None:
            price += self.tick / 2
        changed: dict[str, Any] = {
            "broker": self._live.name,
            "symbol": step.symbol or self.live.symbol,
            "side": step.side,
            "order_qty": Decimal(step.qty),
            "ord_type": step.ord_type or ("market" if price is None else "limit"),
            "price": price,
            "time_in_force": step.tif,
            "reduce_only": step.reduce,
        }
        if step.again is not None:
            changed["cl_ord_id"] = before[step.again].cl_ord_id
        return an_order(self.live.account, **changed)


OUTCOMES = {"Acked", "Rejected", "Unsent", "InDoubt", "RateLimited", "AuthFailed", "Maintenance"}


@asynccontextmanager
async def twins(broker: Imitated) -> AsyncIterator[Twins]:
    async with LIVE[broker]() as live:
        table = await live.broker.instruments()
        settings = PaperSettings(
            instruments=[declared(table[live.symbol])],
            imitates=broker,
            margins=MARGINS if broker == "shioaji" else {},
        )
        paper = PaperBroker(settings, SystemClock())
        seen = table[live.symbol]
        assert seen.last_price is not None
        yield Twins(live=live, paper=paper, first=seen.last_price, tick=seen.tick)


def declared(it: Instrument) -> PaperInstrument:
    """The same as an operator would write it."""
    assert it.last_price is not None
    return PaperInstrument(
        symbol=it.symbol,
        multiplier=str(it.multiplier),
        lot_step=str(it.lot_step),
        min_qty=str(it.min_qty),
        max_qty=str(it.max_qty),
        tick=str(it.tick),
        currency=it.currency,
        last_price=str(it.last_price),
        bid=None if it.bid is None else str(it.bid),
        ask=None if it.ask is None else str(it.ask),
        min_notional=str(it.min_notional),
        tick_table=tuple(PaperTick(from_=str(a), tick=str(b)) for a, b in it.tick_table),
        kind=it.kind,
        underlying=it.underlying,
        stands_for=it.stands_for,
        limit_up=None if it.limit_up is None else str(it.limit_up),
        limit_down=None if it.limit_down is None else str(it.limit_down),
    )


# ------------------------------------------------------------------ what counts of an answer


def told(outcome: Outcome) -> Told:
    if isinstance(outcome, Acked):
        return ("Acked", *_report(outcome.report))
    if isinstance(outcome, Rejected):
        return ("Rejected", outcome.kind, outcome.code)
    return (type(outcome).__name__, outcome)


def canceled(outcome: CancelOutcome) -> Told:
    if isinstance(outcome, CancelDone):
        return ("CancelDone", *_report(outcome.report))
    return (type(outcome).__name__,)


def looked_up(lookup: Lookup) -> Told:
    return ("Found", *_report(lookup.report)) if isinstance(lookup, Found) else (str(lookup),)


def _report(report: Report) -> Told:
    return report.ord_status.value, report.cum_qty.normalize()


async def _state(broker: Broker, account: BrokerAccount, names: Sequence[str]) -> list[Told]:
    rows = await broker.positions(account)
    rests = await broker.open_orders(account)
    held = sorted((row.symbol, row.qty.normalize()) for row in rows if row.qty)
    place = sorted((names.index(one.cl_ord_id), *_report(one)) for one in rests)
    return [("holds", *held), ("rests", *place)]
