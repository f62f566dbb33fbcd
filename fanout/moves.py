"""What each account of a situation is to do: by the position table, or by the way to a target. Pure.

Accounts of one situation may part here: some hold what the sender expected and others do not, some
are above their target and others below it. Each part is judged for itself from there on.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import msgspec

from fanout.action import Move, decide, without_shorts
from fanout.case import Case
from fanout.draft import size_of, worth_of
from fanout.exact import Column, Truth, Whole, neither, one
from fanout.lots import lots_of
from fanout.modes import BLOCK_WEIGHTS, Formula, Share, formula
from fanout.numbers import Numbers, of_part
from fanout.prices import reference_price
from fanout.reasons import Reason
from fanout.sizing import steps_of
from fanout.target import Aim, of_signal, relations, repair
from tenancy.effective import effective


class Way(NamedTuple):
    """A part of a situation and its move, or why there is none. `amount` and `target` in lots."""

    numbers: Numbers
    move: Move | Reason
    amount: Column | None = None
    target: Column | None = None
    words: str | None = None


def moves(case: Case, numbers: Numbers) -> Iterator[Way]:
    """Every account of the situation, in one way each; on spot none of them goes short."""
    for way in _ways(case, numbers):
        if case.instrument.kind == "spot" and isinstance(way.move, Move):
            way = way._replace(move=without_shorts(way.move))
        yield way


def _ways(case: Case, numbers: Numbers) -> Iterator[Way]:
    aim = of_signal(case.signal, inverted=case.inverted)
    if aim is not None:
        yield from _aimed(case, numbers, aim, 0)
    elif case.signal.expected_position is not None:
        yield from _expecting(case, numbers)
    else:
        yield _as_sent(case, numbers)


def _as_sent(case: Case, numbers: Numbers) -> Way:
    settings = case.row.settings
    move = decide(
        case.signal,
        case.facts.sign,
        allow_add=settings.allow_add_to_position.value,
        allow_swap=settings.allow_side_swap.value,
        inverted=case.inverted,
    )
    return Way(numbers, move)


def _expecting(case: Case, numbers: Numbers) -> Iterator[Way]:
    """As sent, where the position is the expected one; else refused, or repaired."""
    settings = case.row.settings
    found = _expected(case, numbers)
    if isinstance(found, Reason):
        yield Way(numbers, found)
        return
    sign, steps, fits = found
    fitting = numbers.part(fits)
    if fitting is not None:
        yield _as_sent(case, fitting)
    others = numbers.part(neither(fits))
    if others is None:
        return
    if settings.position_mismatch.value == "refuse":
        yield Way(others, Reason.POSITION_MISMATCH)
        return
    after = repair(
        case.signal,
        sign,
        allow_add=settings.allow_add_to_position.value,
        allow_swap=settings.allow_side_swap.value,
        subtracts=settings.subtract_exit_quantity.value,
        inverted=case.inverted,
    )
    if isinstance(after, Reason):
        yield Way(others, after)
    elif steps is None and after.needs_expected:  # on which side is known, and not how much
        yield Way(others, Reason.POSITION_MISMATCH)
    else:
        expected = 0 if steps is None else of_part(steps, neither(fits))
        yield from _aimed(case, others, after, expected)


def _expected(case: Case, numbers: Numbers) -> tuple[int, Whole | None, Truth] | Reason:
    """The expected position's sign, its steps at the account's size (None: only the side can be told),
    and whether the account has it."""
    expected = case.signal.expected_position
    assert expected is not None
    sign = (expected > 0) - (expected < 0)
    sign = -sign if case.inverted else sign
    alike = msgspec.structs.replace(
        case.wanted, quantity=abs(expected), quantity_type="fixed_quantity"
    )
    values = effective(alike, case.row.settings, exit=False)
    scaled = values.quantity_type in ("multiplier", "equity_ratio")
    same = values.source["quantity"] == "signal" and case.wanted.quantity_type == "fixed_quantity"
    if sign == 0:
        return 0, 0, case.facts.sign == 0
    if not (same or (scaled and values.source["quantity"] != "strategy")):
        return sign, None, case.facts.sign == sign
    worth = worth_of(case, Move(side="buy", opens=True), values, None)
    found = formula(msgspec.structs.replace(case, wanted=alike), values, worth)
    if isinstance(found, Reason):
        return found
    assert isinstance(found, Formula)
    steps = sign * size(case, found, numbers)
    lots = lots_of(case.instrument, numbers)
    fits = lots.of_steps(steps).values == lots.fine(numbers.get("position"))
    return sign, steps, fits


def _aimed(case: Case, numbers: Numbers, aim: Aim, expected: Whole) -> Iterator[Way]:
    steps: Whole = 0
    words = ""
    if aim.needs_size:
        found = _size(case, aim)
        if isinstance(found, Reason):
            yield Way(numbers, found)
            return
        steps, words = size(case, found, numbers), f"{found.words}: "
    lots = lots_of(case.instrument, numbers)
    target = lots.of_steps(aim.steps(steps, expected))
    allow_swap = case.row.settings.allow_side_swap.value
    for where, move, amount in relations(
        target.values, Column(0, lots.scale), numbers.get("position"), case.facts.sign,
        allow_swap=allow_swap,
    ):  # fmt: skip
        some = numbers.part(where)
        if some is None:
            continue
        yield Way(
            some,
            move,
            Column(of_part(amount, where), lots.scale),
            Column(of_part(target.values, where), lots.scale),
            f"{words}target {{target}} lots",
        )


def _size(case: Case, aim: Aim) -> Formula | Reason:
    """The arithmetic of the size that a target is made of."""
    values = effective(case.wanted, case.row.settings, exit=False)
    if (
        values.quantity_type in BLOCK_WEIGHTS
    ):  # a part of a total cannot bring one account to its target
        return Reason.QUANTITY_TYPE_UNSUPPORTED
    move = Move(side="buy" if aim.sign > 0 else "sell", opens=True)
    price = reference_price(case.signal, values.order_type, case.instrument)
    found = size_of(case, move, values, worth_of(case, move, values, price))
    assert not isinstance(found, Share)
    assert found is not None, "what opens has a size"
    return found


def size(case: Case, how: Formula, numbers: Numbers) -> Whole:
    """Whole steps of the lot, by the account's own rounding."""
    factors = [
        numbers.get(factor) if isinstance(factor, str) else one(factor) for factor in how.factors
    ]
    divisor = how.divisor * Fraction(case.instrument.lot_step)
    return numbers.spread(steps_of(factors, divisor, case.row.settings.rounding.value))
