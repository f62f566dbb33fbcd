"""One order as a paper book keeps it, and the terms on which orders fill."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from fanout.brokers.paper.money import ZERO
from fanout.order import FINAL, Order
from fanout.ports import Report
from fanout.stops_rules import Watch


class Filling(msgspec.Struct, frozen=True, kw_only=True):
    """How orders fill, and what that costs. Fees are parts of the price paid; negative: a rebate."""

    slippage_bps: Decimal = ZERO
    share: Decimal = Decimal(1)
    """Of what is left of an order, at each price."""
    liquidity: Decimal | None = None
    """Lots that an order finds at each price; None: endless."""
    maker_fee: Decimal = ZERO
    taker_fee: Decimal = ZERO


class Entry(msgspec.Struct, kw_only=True):
    """One order in the book. `qty`: what of it was placed, after a cut to what there was to reduce."""

    broker_order_id: str
    order: Order
    qty: Decimal
    step: Decimal
    each: Decimal
    """Money held back per lot while it rests."""
    watch: Watch | None = None
    gross: Decimal = ZERO
    """Filled lots, with a fee that was taken in kind."""
    net: Decimal = ZERO
    worth: Decimal = ZERO
    filled_at: datetime | None = None
    """The price's moment when it last got some."""
    report: Report | None = None

    @property
    def is_open(self) -> bool:
        return self.report is not None and self.report.ord_status not in FINAL

    @property
    def left(self) -> Decimal:
        return self.qty - self.gross
