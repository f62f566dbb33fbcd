"""What a signal does to one account, given its position: the table of spec signal.md. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from fanout.order import Side
from fanout.reasons import Reason
from fanout.signal import Signal, side_of_sentiment

Extent = Literal["none", "whole", "quantity"]


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Close and/or open. `close` is against the position; `open` is on `side`."""

    side: Side
    close: Extent = "none"
    opens: bool = False
    adds: bool = False


def decide(signal: Signal, position: Decimal, *, allow_add: bool) -> Move | Reason:
    """The row of the table that fits. `position`: signed lots."""
    if signal.action == "cancel":
        return Reason.CANCEL_ONLY
    if signal.action == "exit":
        return _exit(signal, position)
    if signal.action == "add":
        return _add(signal, position)
    side: Side = "buy" if signal.action == "buy" else "sell"
    same = position != 0 and (position > 0) == (side == "buy")
    if signal.sentiment == "flat":
        if position == 0 or same:
            return Reason.NO_POSITION
        return Move(side=side, close="quantity" if signal.quantity is not None else "whole")
    if position == 0:
        return Move(side=side, opens=True)
    if same:
        return Move(side=side, opens=True, adds=True) if allow_add else Reason.POSITION_EXISTS
    return Move(side=side, close="whole", opens=True)


def _exit(signal: Signal, position: Decimal) -> Move | Reason:
    if position == 0:
        return Reason.NO_POSITION
    side: Side = "sell" if position > 0 else "buy"
    return Move(side=side, close="quantity" if signal.quantity is not None else "whole")


def _add(signal: Signal, position: Decimal) -> Move | Reason:
    if position == 0:
        return Reason.NO_POSITION
    side: Side = "buy" if position > 0 else "sell"
    if side_of_sentiment(signal) not in (None, side):
        return Reason.OPPOSITE_POSITION
    return Move(side=side, opens=True, adds=True)
