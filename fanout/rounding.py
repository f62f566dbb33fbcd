"""Prices to the instrument's tick, by its tick table where it has one. Pure, exact. Spec: sizing.md.

Which way is safe depends on what the price is: a buy limit goes down, a sell limit up, a stop away
from the market (a buy stop up, a sell stop down). A subscription may ask for the nearest instead.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Literal

from fanout.ports import Instrument

Way = Literal["down", "up", "nearest"]

_EXACTLY = Context(prec=80)


def to_tick(price: Decimal, instrument: Instrument, way: Way) -> Decimal:
    """`price` on the instrument's grid. A price below the first tick goes down to 0."""
    if way == "down":
        return _down(price, instrument)
    if way == "up":
        return _up(price, instrument)
    low, high = _down(price, instrument), _up(price, instrument)
    return low if price - low < high - price else high


def limit_way(side: str, rounding: str) -> Way:
    """No worse for the account than what was asked for."""
    return "nearest" if rounding == "nearest" else "down" if side == "buy" else "up"


def stop_way(side: str, rounding: str) -> Way:
    """Away from the market: never reached sooner than what was asked for."""
    return "nearest" if rounding == "nearest" else "up" if side == "buy" else "down"


def _down(price: Decimal, instrument: Instrument) -> Decimal:
    bands = instrument.tick_table
    for number in range(len(bands) - 1, -1, -1):
        start, tick = bands[number]
        if price < start:
            continue
        found = _grid(price, tick, ROUND_FLOOR)
        # A band need not begin on its own grid: what is below it belongs to the band before.
        if found >= start or number == 0:
            return found
        return _grid(start, bands[number - 1][1], ROUND_FLOOR)
    return _grid(price, bands[0][1] if bands else instrument.tick, ROUND_FLOOR)


def _up(price: Decimal, instrument: Instrument) -> Decimal:
    bands = instrument.tick_table
    tick = bands[0][1] if bands else instrument.tick
    for number, (start, own) in enumerate(bands):
        if price < start:
            continue
        tick = own
        following = bands[number + 1] if number + 1 < len(bands) else None
        found = _grid(price, own, ROUND_CEILING)
        if following is None or found < following[0]:
            continue
        if price < following[0]:
            return _grid(following[0], following[1], ROUND_CEILING)
    return _grid(price, tick, ROUND_CEILING)


def _grid(price: Decimal, tick: Decimal, way: str) -> Decimal:
    if tick <= 0:
        raise ValueError(f"a tick must be greater than 0, got {tick}")
    steps = _EXACTLY.divide(price, tick).to_integral_value(way)
    return _EXACTLY.multiply(steps, tick).normalize(_EXACTLY)
