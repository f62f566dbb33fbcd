"""Limits on what opens or adds, in the order of spec sizing.md: each refuses, or cuts, and says so. Pure.

Orders per minute, daily loss, order quantity, order notional, position quantity (of the account,
then of the strategy in it), position notional (the same), leverage, price collar. A limit is turned
into room: so many whole steps of a lot fit under it, and more do not. Notionals are in the
account's currency, and nothing is rounded but the room, down. A check that cannot decide (no price,
no rate, nothing known of what was used) refuses.

A position is what is held, what is under way, and what rests at the broker on the same side, for
all of that may fill. Layers' limits count all strategies of the account; the strategy's own layer
counts what the strategy holds there.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from fanout.draft import Draft
from fanout.exact import (
    Column,
    Truth,
    Whole,
    anywhere,
    choose,
    floor_of,
    most,
    negative,
    product,
    total,
)
from fanout.numbers import Numbers
from fanout.reasons import Reason
from tenancy.limits import Limit
from tenancy.values import plain

CUTS = frozenset(
    {
        Reason.MAX_ORDER_QUANTITY,
        Reason.MAX_ORDER_NOTIONAL,
        Reason.MAX_POSITION_QUANTITY,
        Reason.MAX_POSITION_NOTIONAL,
        Reason.MAX_LEVERAGE,
    }
)
"""Limits over which an opening may be cut; beyond the others, and where one cannot tell, it is refused."""

SIZES = (
    ("max_order_quantity", Reason.MAX_ORDER_QUANTITY, False, None),
    ("max_order_notional", Reason.MAX_ORDER_NOTIONAL, True, None),
    ("max_position_quantity", Reason.MAX_POSITION_QUANTITY, False, True),
    ("strategy_position_quantity", Reason.MAX_POSITION_QUANTITY, False, False),
    ("max_position_notional", Reason.MAX_POSITION_NOTIONAL, True, True),
    ("strategy_position_notional", Reason.MAX_POSITION_NOTIONAL, True, False),
)
"""Limits on size: name, reason, whether in money, and whose position counts: nobody's for an order's own
size, all strategies' of the account (True), or only this one's (False)."""

_EXACTLY = Context(prec=160)
ONE = Fraction(1)


class Opening(NamedTuple):
    """What is to open or add, and what it comes on top of."""

    steps: Whole
    closing: Column  # lots that the entry closes on the same side before it
    least: int  # steps: the instrument's minimum
    lot: Decimal
    step: Column  # the same, as a number


class Said(NamedTuple):
    """A limit that had something to say, and to whom. `after` is None where it refuses."""

    name: str
    reason: Reason
    where: Truth
    before: Whole
    after: Whole | None
    words: str


class Checked(NamedTuple):
    """What remains; `refused` is 0, or a place in `reasons`."""

    steps: Whole
    refused: Whole
    reasons: list[Reason | None]
    said: list[Said]


class _Limit(NamedTuple):
    """One limit of this situation: who is over it, and how many steps would not be."""

    name: str
    reason: Reason
    over: Truth
    room: Whole | None
    words: str


def check(draft: Draft, numbers: Numbers, opening: Opening) -> Checked:
    """The opening within the limits, or the first limit that refuses it, account by account."""
    steps, refused = opening.steps, 0 * (opening.steps > 0)
    reasons: list[Reason | None] = [None]
    said: list[Said] = []
    cuts = draft.case.row.limits.over_limit.value == "cut"
    for found in _limits(draft, numbers, opening):
        alive = (steps > 0) & (refused == 0)
        if isinstance(found, Reason):
            reasons.append(found)
            refused = choose(alive, len(reasons) - 1, refused)
            return Checked(steps, refused, reasons, said)
        over = alive & (found.over if found.room is None else steps > found.room)
        if not anywhere(over):
            continue
        reasons.append(found.reason)
        code, before = len(reasons) - 1, steps
        if cuts and found.reason in CUTS and found.room is not None:
            cut = most(found.room, 0)
            steps = choose(over, cut, steps)
            refused = choose(over & ((cut < opening.least) | (cut == 0)), code, refused)
            said.append(Said(found.name, found.reason, over, before, steps, found.words))
        else:
            refused = choose(over, code, refused)
            said.append(Said(found.name, found.reason, over, before, None, found.words))
    return Checked(steps, refused, reasons, said)


def _limits(draft: Draft, numbers: Numbers, opening: Opening) -> Iterator[_Limit | Reason]:
    """Those that are set, in their order; a reason is where one cannot be decided, and the last."""
    limits = draft.case.row.limits
    yield from _rate(draft, numbers, opening, limits.max_orders_per_minute)
    yield from _loss(draft, numbers, opening, limits.max_daily_loss)
    lot = Fraction(opening.lot)
    for name, reason, in_money, others in SIZES:
        limit = getattr(limits, name)
        if limit is None:
            continue
        value = draft.worth.of_a_lot if in_money and draft.worth is not None else ONE
        if isinstance(value, Reason):
            yield value
            return
        terms = [(ONE, numbers.get(name))]
        if others is not None:
            terms.append((-value, exposure(draft, numbers, opening, with_others=others)))
        room = floor_of(terms, value * lot)
        yield _Limit(name, reason, True, room, _says(reason.value, name, limit))
    yield from _leverage(draft, numbers, opening, limits.max_leverage)
    outside = _outside_collar(draft, limits.price_collar_percent)
    if outside is not None:
        yield outside


def exposure(draft: Draft, numbers: Numbers, opening: Opening, *, with_others: bool) -> Column:
    """Lots on the move's side before the opening, at most: held once the closing has filled, and resting."""
    assert draft.move is not None
    side = draft.move.side
    held = numbers.get("own")
    if side == "sell":
        held = negative(held)
    held = total(held, opening.closing)
    held = Column(most(held.values, 0), held.scale)
    resting = [numbers.get(f"resting_{side}")]
    if with_others and draft.case.facts.shared:
        resting.append(numbers.get("others_long" if side == "buy" else "others_short"))
    return total(held, *resting)


def _says(shown: str, name: str, limit: Limit[Any]) -> str:
    return f"{shown} {{{name}}} of the {limit.source}"


def _rate(
    draft: Draft, numbers: Numbers, opening: Opening, limit: Limit[int] | None
) -> Iterator[_Limit | Reason]:
    """The entry's own orders count: one, or two where it closes first."""
    if limit is None:
        return
    if not draft.case.facts.usage:
        yield Reason.USAGE_UNKNOWN
        return
    orders = 1 + (opening.closing.values > 0)
    used = numbers.get("orders_last_minute").values
    over = used + orders > numbers.get("max_orders_per_minute").values
    name = "max_orders_per_minute"
    words = "; {orders_last_minute} orders in the last minute and this one's are over "
    words += _says(name, name, limit)
    yield _Limit(name, Reason.MAX_ORDERS_PER_MINUTE, over, None, words)


def _loss(
    draft: Draft, numbers: Numbers, opening: Opening, limit: Limit[Decimal] | None
) -> Iterator[_Limit | Reason]:
    """What is lost, what open stops may still lose, and what this order may at its own."""
    if limit is None:
        return
    if not draft.case.facts.usage or not draft.case.facts.loss:
        yield Reason.USAGE_UNKNOWN
        return
    risk = draft.worth.risk_of_a_lot if draft.worth is not None else None
    if isinstance(risk, Reason):
        yield risk
        return
    bound, lost = numbers.get("max_daily_loss"), numbers.get("loss_today")
    left = total(bound, negative(lost), negative(numbers.get("risk_open")))
    over = total(bound, negative(lost)).values <= 0
    if risk:
        over = over | (opening.steps > floor_of([(ONE, left)], risk * Fraction(opening.lot)))
    else:
        over = over | (left.values < 0)
    name = "max_daily_loss"
    words = "; {loss_today} lost today, {risk_open} at risk and what this order may lose are over "
    words += _says(name, name, limit)
    yield _Limit(name, Reason.MAX_DAILY_LOSS, over, None, words)


def _leverage(
    draft: Draft, numbers: Numbers, opening: Opening, limit: Limit[Decimal] | None
) -> Iterator[_Limit | Reason]:
    """All that the account holds or lets rest, in every symbol, against its equity."""
    if limit is None:
        return
    facts = draft.case.facts
    if not facts.usage or not facts.worth:
        yield Reason.USAGE_UNKNOWN
        return
    if not facts.equity:
        yield Reason.NO_EQUITY
        return
    assert draft.worth is not None
    value = draft.worth.of_a_lot
    if isinstance(value, Reason):
        yield value
        return
    name = "max_leverage"
    room = floor_of(
        [
            (ONE, product(numbers.get(name), numbers.get("equity"))),
            (-ONE, numbers.get("worth_elsewhere")),
            (-value, exposure(draft, numbers, opening, with_others=True)),
        ],
        value * Fraction(opening.lot),
    )
    yield _Limit(name, Reason.MAX_LEVERAGE, True, room, _says(name, name, limit))


def _outside_collar(draft: Draft, limit: Limit[Decimal] | None) -> _Limit | Reason | None:
    """The limit price as it will be sent against the market's."""
    price = draft.opening.price if draft.opening is not None else None
    if limit is None or price is None:
        return None
    market = draft.market_price
    if market is None:
        return Reason.NO_PRICE
    away = abs(_EXACTLY.subtract(price, market))
    allowed = _EXACTLY.multiply(limit.value, market)
    if _EXACTLY.multiply(away, Decimal(100)) <= allowed:
        return None
    words = (
        f"; the limit price {plain(price)} is more than {plain(limit.value)} % away from"
        f" the market's {plain(market)} (price_collar_percent of the {limit.source})"
    )
    return _Limit("price_collar_percent", Reason.PRICE_COLLAR, True, None, words)
