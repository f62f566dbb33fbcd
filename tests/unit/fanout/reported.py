"""A broker's report of an order that rests, for tests of comparisons."""

from __future__ import annotations

from decimal import Decimal

from fanout.order import OrdState
from fanout.ports import Report
from tests.builders import NOW


def reported(name: str, cum: int = 0) -> Report:
    return Report(
        cl_ord_id=name,
        broker_order_id=f"b-{name}",
        ord_status=OrdState.PARTIALLY_FILLED if cum else OrdState.NEW,
        cum_qty=Decimal(cum),
        avg_px=None,
        text="",
        transact_time=NOW,
        raw=b"{}",
    )
