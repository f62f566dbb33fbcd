"""Where a case trades: a broker, a fresh account on it, and the few moves that all cases are made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any, Literal

import msgspec

from fanout.order import Order
from fanout.ports import Acked, BrokerAccount, Caps, Found, Instrument, Lookup, Rejected, Report
from tests.contract.venues import Venue
from tests.fakes.orders import an_order, submitted

Spoilt = Literal["lost_before", "lost_after", "busy"]
"""What befalls the next order: lost on its way; taken, and the answer lost; turned away, come back later."""

Spoil = Callable[[Venue, Spoilt], Awaitable[None]]

LOTS = Decimal(10)


@dataclass(frozen=True)
class Desk:
    """One case's own account, with nothing on it, at the venue's first price."""

    venue: Venue
    instrument: Instrument
    spoil_next: Spoil | None = None

    @property
    def broker(self) -> Any:
        return self.venue.broker

    @property
    def caps(self) -> Caps:
        return self.venue.broker.caps

    @property
    def account(self) -> BrokerAccount:
        return self.venue.account

    @property
    def poor(self) -> BrokerAccount:
        """With next to no money."""
        return self.venue.poor

    @property
    def symbol(self) -> str:
        return self.venue.symbol

    @property
    def start(self) -> Decimal:
        """The market when the case began."""
        assert self.instrument.last_price is not None
        return self.instrument.last_price

    # -------------------------------------------------------------- orders

    def at(self, factor: str) -> Decimal:
        """A price on the tick, at `factor` times the market of the beginning."""
        ticks = self.start * Decimal(factor) / self.instrument.tick
        return ticks.to_integral_value(ROUND_FLOOR) * self.instrument.tick

    def order(self, **changed: Any) -> Order:
        """A market order to buy ten lots."""
        facts = {"broker": self.broker.name, "symbol": self.symbol, "order_qty": LOTS}
        return an_order(self.account, **(facts | changed))

    def limit(self, factor: str = "0.8", **changed: Any) -> Order:
        """A limit order to buy ten lots; where nothing is said, far below the market."""
        return self.order(**({"ord_type": "limit", "price": self.at(factor)} | changed))

    def same(self, order: Order, **changed: Any) -> Order:
        return msgspec.structs.replace(order, **changed)

    # -------------------------------------------------------------- acts

    async def placed(self, order: Order, account: BrokerAccount | None = None) -> Report:
        """The broker has it, by our name and its own, and in its own words."""
        outcome = await submitted(self.broker, account or self.account, order)
        assert isinstance(outcome, Acked), outcome
        report = outcome.report
        assert report.cl_ord_id == order.cl_ord_id
        assert report.broker_order_id
        assert report.raw
        return report

    async def known(self, order: Order) -> Order:
        """Placed, with the broker's name for it."""
        report = await self.placed(order)
        return self.same(order, broker_order_id=report.broker_order_id)

    async def hold(self, lots: int = 10) -> None:
        """Buy so many."""
        report = await self.placed(self.order(order_qty=Decimal(lots)))
        assert report.cum_qty == lots

    async def refused(self, order: Order, account: BrokerAccount | None = None) -> Rejected:
        """For good, with a label and words."""
        outcome = await submitted(self.broker, account or self.account, order)
        assert isinstance(outcome, Rejected), outcome
        assert outcome.code
        assert outcome.text
        return outcome

    async def move(self, factor: str) -> None:
        """The market goes to `factor` times where it began."""
        await self.venue.move(self.at(factor))

    async def spoil(self, how: Spoilt) -> None:
        assert self.spoil_next is not None, "this venue has no way to be lost on"
        await self.spoil_next(self.venue, how)

    # -------------------------------------------------------------- questions

    async def looked_up(self, order: Order, account: BrokerAccount | None = None) -> Lookup:
        found: Lookup = await self.broker.find(account or self.account, order, sent_by=now())
        return found

    async def found(self, order: Order) -> Report:
        lookup = await self.looked_up(order)
        assert isinstance(lookup, Found), lookup
        return lookup.report

    async def held(self, account: BrokerAccount | None = None) -> Decimal:
        rows = await self.broker.positions(account or self.account)
        return sum((row.qty for row in rows if row.symbol == self.symbol), Decimal(0))

    async def open(self) -> set[str]:
        return {row.cl_ord_id for row in await self.broker.open_orders(self.account)}


def now() -> datetime:
    return datetime.now(UTC)


def soon() -> datetime:
    """A lease that lasts."""
    return now() + timedelta(seconds=20)


def near(price: Decimal | None, market: Decimal) -> bool:
    return price is not None and abs(price / market - 1) < Decimal("0.01")
