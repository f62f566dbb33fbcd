"""Positions that are to come out: `targetPosition`, and the repair of what the sender took to be held. Pure.

A target makes a plan that forgives: the order is the difference between it and what the account
holds, so whatever went wrong before is put right by the next signal.

A signal with an `expectedPosition` that is not the account's is refused, or repaired: then the
account goes where the signal would have left it had the expectation been true, which is a target.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from fanout.action import Move, decide, opposite, side_of
from fanout.exact import Column, Truth, Whole, at_scale, choose, least, most
from fanout.order import Side
from fanout.reasons import Reason
from fanout.signal import Signal

Way = Literal["size", "flat", "expected", "reduced", "beyond", "added", "mirrored"]


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """How a target comes of the account's size and of the position that the sender expected.

    `size`: the size, on `sign`'s side. `flat`: nothing. Of the expected position: `expected` as it
    is, `reduced` by the size, `added` to by it, `mirrored`; `beyond`: the size less what it was.
    """

    way: Way
    sign: int = 1

    @property
    def needs_size(self) -> bool:
        return self.way in ("size", "reduced", "beyond", "added")

    @property
    def needs_expected(self) -> bool:
        """How much was expected, not only on which side."""
        return self.way in ("expected", "reduced", "beyond", "added", "mirrored")

    def steps(self, size: Whole, expected: Whole) -> Whole:
        """The target, in signed steps; `expected` is signed as well."""
        held = abs(expected)
        if self.way == "flat":
            return 0 * size
        if self.way == "size":
            return self.sign * size
        if self.way == "expected":
            return expected
        if self.way == "reduced":
            return self.sign * (held - least(held, size))
        if self.way == "beyond":
            return self.sign * most(size - held, 0 * size)
        if self.way == "added":
            return expected + self.sign * size
        return -expected


def of_signal(signal: Signal, *, inverted: bool) -> Aim | None:
    """The target that the signal states; None where it states none."""
    if signal.target_position is None:
        return None
    if signal.target_position == 0:
        return Aim(way="flat")
    sign = 1 if signal.target_position > 0 else -1
    return Aim(way="size", sign=-sign if inverted else sign)


def repair(
    signal: Signal,
    expected: int,
    *,
    allow_add: bool,
    allow_swap: bool,
    subtracts: bool,
    inverted: bool,
) -> Aim | Reason:
    """Where the signal would have left an account with a position of `expected`'s sign."""
    move = decide(signal, expected, allow_add=allow_add, allow_swap=allow_swap, inverted=inverted)
    if isinstance(move, Reason):
        stays = move in (Reason.POSITION_EXISTS, Reason.NO_POSITION)
        return (Aim(way="expected") if expected else Aim(way="flat")) if stays else move
    sign = 1 if move.side == "buy" else -1
    if not move.opens:
        return Aim(way="flat") if move.close == "whole" else Aim(way="reduced", sign=-sign)
    if move.adds:
        return Aim(way="added", sign=sign)
    if move.size == "held":
        return Aim(way="mirrored")
    return Aim(way="beyond" if subtracts and expected else "size", sign=sign)


def relations(
    target: Whole, lots: Column, position: Column, sign: int, *, allow_swap: bool
) -> list[tuple[Truth, Move | Reason, Whole]]:
    """What leads from the position to the target, for which accounts, and how much of it.

    `target`: signed, in the unit of `lots`, whose scale is the position's or finer. `sign`: of all
    these accounts' positions. The amounts are of the same unit: what is opened, or closed in part.
    """
    held = at_scale(position, lots.scale).values
    if sign == 0:
        return [
            (target == 0, Reason.ON_TARGET, 0 * target),
            (target > 0, Move(side="buy", opens=True), target),
            (target < 0, Move(side="sell", opens=True), -target),
        ]
    same: Side = side_of(sign)
    against = opposite(same)
    wanted, size = sign * target, sign * held
    flip: Move = Move(side=against, close="whole", opens=allow_swap, kept_from_swap=not allow_swap)
    return [
        (wanted == size, Reason.ON_TARGET, 0 * target),
        (wanted > size, Move(side=same, opens=True, adds=True), wanted - size),
        ((wanted < size) & (wanted > 0), Move(side=against, close="quantity"), size - wanted),
        (wanted == 0, Move(side=against, close="whole"), 0 * target),
        (wanted < 0, flip, choose(wanted < 0, -wanted, 0 * target)),
    ]
