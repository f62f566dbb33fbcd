"""A row of `orders` as an Order, and back: its columns, in one order for every statement. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from psycopg.types.json import Json

from fanout.order import Order, OrdState, Protect

COLUMNS = (
    "cl_ord_id", "order_id", "tenant_id", "signal_id", "strategy_id", "account_id", "part", "leg",
    "attempt", "place", "broker", "symbol", "side", "order_qty", "ord_type", "price",
    "time_in_force", "reduce_only", "deadline", "state", "epoch", "traceparent", "intent_at",
    "role", "stop_px", "trail_amount", "trail_percent", "cancel_at", "protect", "signal_px",
    "arrival_px", "asked_type", "best_px", "entry_px", "breakeven_px", "trigger_px",
)  # fmt: skip
TYPES = (
    "text", "text", "uuid", "uuid", "uuid", "uuid", "smallint", "smallint", "smallint", "integer",
    "text", "text", "text", "numeric", "text", "numeric", "text", "boolean", "timestamptz", "text",
    "bigint", "text", "timestamptz", "text", "numeric", "numeric", "numeric", "timestamptz", "json",
    "numeric", "numeric", "text", "numeric", "numeric", "numeric", "numeric",
)  # fmt: skip
READ = (*COLUMNS, "broker_order_id", "cum_qty", "avg_px")

SELECT = f"SELECT {', '.join(READ)} FROM orders"  # noqa: S608 - constants only


def cell(order: Order, name: str) -> Any:
    value = getattr(order, name)
    if name == "protect":
        return None if value is None else Json(value, dumps=msgspec.json.encode)
    return value.value if name == "state" else value


def order_of_row(row: Sequence[Any]) -> Order:
    values = dict(zip(READ, row, strict=False))
    values["state"] = OrdState(values["state"])
    if values["protect"] is not None:
        values["protect"] = msgspec.convert(values["protect"], Protect)
    return Order(**values)
