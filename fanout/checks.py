"""Limits on what opens or adds, in the order of spec sizing.md: each refuses, or cuts, and says so. Pure.

Order quantity, order notional, position quantity, position notional, price collar. Quantities are
whole lots, notionals are in the account's currency, and exact: nothing is rounded but a cut, down
to the lot step. A check that cannot decide (no price, another currency) refuses.

A position is that of one strategy in one account and one instrument: what is held, what is under
way, and what rests at the broker on the same side, for all of that may fill.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact
from fractions import Fraction

import msgspec

from fanout.order import Side
from fanout.ports import Instrument
from fanout.reasons import Reason
from tenancy.limits import EffectiveLimits, Limit
from tenancy.values import plain

CUTS = frozenset(
    {
        Reason.MAX_ORDER_QUANTITY,
        Reason.MAX_ORDER_NOTIONAL,
        Reason.MAX_POSITION_QUANTITY,
        Reason.MAX_POSITION_NOTIONAL,
    }
)
"""Limits over which an opening may be cut; beyond the collar, and without a price, it is refused."""


NOTHING, ONE = Decimal(0), Decimal(1)
EXACTLY = Context(prec=160, traps=[Inexact])
"""Products of three values of tenancy.values.exact() have at most 111 digits: nothing is rounded."""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an order that opens or adds, and what it would come on top of."""

    side: Side
    quantity: Decimal
    exposure: Decimal  # lots on this side before it, ≥ 0
    instrument: Instrument
    currency: str  # of the account
    price: Decimal | None  # the reference price, for notionals
    limit_price: Decimal | None  # of a limit order, for the collar
    market_price: Decimal | None


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What remains, and in words what was cut."""

    quantity: Decimal
    words: str = ""
    reason: Reason | None = None  # the limit that refused, or cut to nothing


def check(opening: Opening, limits: EffectiveLimits) -> Checked:
    """The opening within the limits, or the first limit that refuses it."""
    quantity, notes = opening.quantity, ""
    for reason, limit, in_money, before in (
        (Reason.MAX_ORDER_QUANTITY, limits.max_order_quantity, False, NOTHING),
        (Reason.MAX_ORDER_NOTIONAL, limits.max_order_notional, True, NOTHING),
        (Reason.MAX_POSITION_QUANTITY, limits.max_position_quantity, False, opening.exposure),
        (Reason.MAX_POSITION_NOTIONAL, limits.max_position_notional, True, opening.exposure),
    ):
        if limit is None:
            continue
        value = _value_of_a_lot(opening) if in_money else ONE
        if isinstance(value, Reason):
            return Checked(quantity=NOTHING, reason=value, words=notes)
        if EXACTLY.multiply(EXACTLY.add(quantity, before), value) <= limit.value:
            continue
        says = f"{reason.value} {plain(limit.value)} of the {limit.source}"
        if limits.over_limit.value == "skip":
            note = f"{notes}; {plain(quantity)} lots are over {says}"
            return Checked(quantity=NOTHING, reason=reason, words=note)
        room = Fraction(limit.value) / Fraction(value) - Fraction(before)
        cut = _whole_steps(room, opening.instrument.lot_step)
        notes += f", cut from {plain(quantity)} to {plain(cut)} lots by {says}"
        quantity = cut
        if quantity < opening.instrument.min_qty or quantity == 0:
            return Checked(quantity=NOTHING, reason=reason, words=notes)
    outside = _outside_collar(opening, limits.price_collar_percent)
    if outside is not None:
        return Checked(quantity=NOTHING, reason=outside[0], words=notes + outside[1])
    return Checked(quantity=quantity, words=notes)


def _value_of_a_lot(opening: Opening) -> Decimal | Reason:
    if opening.price is None:
        return Reason.NO_PRICE
    if opening.instrument.currency != opening.currency:
        return Reason.NO_FX_RATE
    return EXACTLY.multiply(opening.price, opening.instrument.multiplier)


def _whole_steps(room: Fraction, step: Decimal) -> Decimal:
    """The most that fits into `room`, on the lot grid, and never below nothing."""
    steps = max(0, room // Fraction(step))
    return Decimal(int(steps)) * step


def _outside_collar(opening: Opening, limit: Limit[Decimal] | None) -> tuple[Reason, str] | None:
    if limit is None or opening.limit_price is None:
        return None
    if opening.market_price is None:
        return Reason.NO_PRICE, ""
    away = abs(EXACTLY.subtract(opening.limit_price, opening.market_price))
    allowed = EXACTLY.multiply(limit.value, opening.market_price)
    if EXACTLY.multiply(away, Decimal(100)) <= allowed:
        return None
    return (
        Reason.PRICE_COLLAR,
        f"; the limit price {plain(opening.limit_price)} is more than {plain(limit.value)} % away from"
        f" the market's {plain(opening.market_price)} (price_collar_percent of the {limit.source})",
    )
