"""What a signal does to one account, given on which side it holds: the table of spec signal.md. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from fanout.order import Side
from fanout.reasons import Reason
from fanout.signal import Signal, side_of_sentiment

Extent = Literal["none", "whole", "quantity"]
Size = Literal["asked", "held"]


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Close and/or open. `close` is against the position; `open` is on `side`."""

    side: Side
    close: Extent = "none"
    opens: bool = False
    adds: bool = False
    size: Size = "asked"
    """How much is opened: by the quantity, or as much as was held on the other side."""
    kept_from_swap: bool = False
    """It would have opened the other side, and the subscription does not change sides."""
    kept_from_short: bool = False
    """It would have gone short after the close, and the instrument has no short positions."""


def opposite(side: Side) -> Side:
    return "sell" if side == "buy" else "buy"


def side_of(position: Decimal | int) -> Side:
    """Of a position that is not flat."""
    return "buy" if position > 0 else "sell"


def decide(
    signal: Signal,
    position: Decimal | int,
    *,
    allow_add: bool,
    allow_swap: bool = True,
    inverted: bool = False,
) -> Move | Reason:
    """The row of the table that fits.

    `position`: signed lots, or only their sign. `inverted`: a put, whose direction is not the
    underlying's: `buy`, `sell` and the sentiment mean the other side of it.
    """
    if signal.action == "cancel":
        return Reason.CANCEL_ONLY
    wanted = side_of_sentiment(signal)
    if inverted and wanted is not None:
        wanted = opposite(wanted)
    if signal.action == "exit":
        return _exit(signal, position)
    if signal.action == "add":
        return _add(position, wanted)
    if signal.action == "reverse":
        return _reverse(signal, position, wanted)
    side: Side = "buy" if signal.action == "buy" else "sell"
    if inverted:
        side = opposite(side)
    same = position != 0 and side_of(position) == side
    if signal.sentiment == "flat":
        return Reason.NO_POSITION if position == 0 or same else _closing(signal, side)
    if wanted not in (None, side) and signal.option_type is None:
        return _part(position, side)
    if position == 0:
        return Move(side=side, opens=True)
    if same:
        return Move(side=side, opens=True, adds=True) if allow_add else Reason.POSITION_EXISTS
    if not allow_swap:
        return Move(side=side, close="whole", kept_from_swap=True)
    return Move(side=side, close="whole", opens=True)


def without_shorts(move: Move) -> Move | Reason:
    """The same where nothing can be sold that is not held (spot): it closes, and opens no short."""
    if not move.opens or move.side == "buy":
        return move
    if move.close == "none":
        return Reason.NO_SHORTS
    return msgspec.structs.replace(move, opens=False, kept_from_short=True)


def _closing(signal: Signal, side: Side) -> Move:
    return Move(side=side, close="quantity" if signal.quantity is not None else "whole")


def _part(position: Decimal | int, side: Side) -> Move | Reason:
    """`sell` that leaves one `long`: the quantity is taken off a long position, and nothing is turned."""
    if position == 0:
        return Reason.NO_POSITION
    if side_of(position) == side:
        return Reason.OPPOSITE_POSITION
    return Move(side=side, close="quantity")


def _exit(signal: Signal, position: Decimal | int) -> Move | Reason:
    if position == 0:
        return Reason.NO_POSITION
    return _closing(signal, opposite(side_of(position)))


def _add(position: Decimal | int, wanted: Side | None) -> Move | Reason:
    if position == 0:
        return Reason.NO_POSITION
    side = side_of(position)
    if wanted not in (None, side):
        return Reason.OPPOSITE_POSITION
    return Move(side=side, opens=True, adds=True)


def _reverse(signal: Signal, position: Decimal | int, wanted: Side | None) -> Move | Reason:
    """Both legs whatever the subscription says of changing sides: nothing else is what `reverse` means."""
    if position == 0:
        return Reason.NO_POSITION
    side = opposite(side_of(position))
    if signal.sentiment == "flat":
        return Move(side=side, close="whole")
    if wanted not in (None, side):
        return Reason.POSITION_EXISTS
    size: Size = "held" if signal.quantity is None else "asked"
    return Move(side=side, close="whole", opens=True, size=size)
