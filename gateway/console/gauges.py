"""How much of each limit is used, as bars on one scale. Pure: the API's usage in, numbers for an SVG out."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple

WIDTH = 1000
"""Of a bar, in its own units; what is over its limit fills it."""
NEAR = Decimal("0.8")

Level = Literal["well", "warning", "wrong", "unknown", "free"]
"""`warning`: four fifths are used. `wrong`: all of it. `unknown`: there is a limit, and nobody can tell how much
is used. `free`: there is no limit."""


class Gauge(NamedTuple):
    """`name`: of the limit. `of`: a symbol, where it is of one. `width`: of the bar; None where none is drawn."""

    name: str
    of: str
    used: str | None
    limit: str | None
    source: str | None
    width: float | None
    percent: int | None
    level: Level


def gauges(usage: Mapping[str, Any]) -> list[Gauge]:
    """Of the whole account first, then of each symbol."""
    whole = [
        _gauge(name, "", usage[name]) for name in ("leverage", "daily_loss", "orders_last_minute")
    ]
    return whole + [
        _gauge(f"position_{name}", position["symbol"], position[name])
        for position in usage["positions"]
        for name in ("quantity", "notional")
        if position[name]["limit"] is not None
    ]


def _gauge(name: str, of: str, said: Mapping[str, Any]) -> Gauge:
    used, limit = said["used"], said["limit"]
    if limit is None or used is None:
        level: Level = "free" if limit is None else "unknown"
        return Gauge(name, of, used, limit, said["source"], None, None, level)
    most = Decimal(limit)
    share = Decimal(used) / most if most > 0 else Decimal(1)
    level = "wrong" if share >= 1 else "warning" if share >= NEAR else "well"
    width = round(float(min(share, Decimal(1))) * WIDTH, 2)
    return Gauge(name, of, used, limit, said["source"], width, int(share * 100), level)
