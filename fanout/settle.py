"""From a draft and its sizes to outcomes: legs within the instrument's bounds and all limits. Pure.

1. What is closed: the whole position, or a part of it, never more than there is.
2. What is opened: the size, less what the exit counts (`subtract_exit_quantity`), not under the
   instrument's minimum, not over its maximum, then within the limits (fanout/checks.py).
3. What a limit refuses is refused whole, a flip too; one that cuts leaves the closing leg.
4. Accounts with one outcome become a group (fanout/groups.py): every step above is a digit of a
   code, and the codes that occur are the groups.

A closing leg is reduce-only where that is true of the whole account: its position, of all
strategies together, is on the side that is closed and not smaller than what is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import ceil
from string import Formatter
from typing import Any, NamedTuple

import numpy as np

from fanout.checks import CUTS, Checked, Opening, check
from fanout.draft import Draft
from fanout.exact import (
    Column,
    Whole,
    anywhere,
    at_scale,
    choose,
    least,
    most,
    neither,
    one,
    total,
)
from fanout.groups import Group, Listed, Shape, listed
from fanout.lots import Lots, lots_of
from fanout.numbers import Numbers, of_part
from fanout.prices import Terms
from fanout.reasons import Reason

FITS, RAISED, BELOW, CUT = 0, 1, 2, 3
"""What the instrument's bounds did to a size."""
_NOTES = {
    FITS: "",
    RAISED: ", raised to the minimum {minimum}",
    BELOW: ", below the minimum {minimum}",
    CUT: ", cut to the maximum {maximum}",
}


class Sized(NamedTuple):
    """A draft whose sizes are known, in steps of the lot. `amount` and `target`, in lots, where it has one:
    what is closed in part, and the position that is to come out."""

    draft: Draft
    numbers: Numbers
    steps: Whole
    amount: Column | None = None
    target: Column | None = None


class Outcome(NamedTuple):
    """Who trades what, as columns, before groups are made of it."""

    closing: Whole
    opening: Whole  # steps
    note: Whole
    checked: Checked
    whole_refused: Any
    reduces: Any


Write = Callable[[Numbers, Draft, Reason, dict[str, Any]], Group]


def settle(sized: Sized, write: Write) -> list[Group]:
    """The groups of one draft's accounts. `write` makes a group of what is said of it."""
    draft, numbers = sized.draft, sized.numbers
    move = draft.move
    if move is None:
        return [write(numbers, draft, Reason.CANCEL_ONLY, {"cancel_open": True})]
    lots = lots_of(draft.case.instrument, numbers)
    held = Column(abs(lots.fine(numbers.get("position"))), lots.scale)
    closing, note = _closing(sized, lots, held)
    if move.opens:
        opening, checked, note = _opening(sized, lots, held, closing)
    else:
        opening, checked = 0, Checked(0, 0, [None], [])
    refused = checked.refused
    spared = _spared(draft, checked) & (closing > 0)
    whole_refused = (refused > 0) & neither(spared)
    opening = choose(refused > 0, 0, opening)
    outcome = Outcome(
        closing=choose(whole_refused, 0, closing),
        opening=opening,
        note=note,
        checked=checked,
        whole_refused=whole_refused,
        reduces=_reduces(sized, lots, closing),
    )
    return _groups(sized, lots, held, outcome, write)


def _closing(sized: Sized, lots: Lots, held: Column) -> tuple[Whole, Whole]:
    draft, move = sized.draft, sized.draft.move
    assert move is not None
    if move.close == "none":
        return 0, FITS
    if move.close == "whole":
        return held.values, FITS
    wanted = sized.amount
    asked = lots.fine(wanted) if wanted is not None else lots.of_steps(sized.steps).values
    part = least(held.values, asked)
    if move.opens:
        return part, FITS
    # A part that is smaller than the broker takes is skipped, or raised; the rest of a position never is.
    minimum = lots.step * _least_steps(draft, in_money=False)
    small = (part < minimum) & (part < held.values)
    if draft.case.row.settings.below_minimum.value == "raise":
        return choose(small, least(held.values, minimum), part), choose(small, RAISED, FITS)
    return choose(small, 0, part), choose(small, BELOW, FITS)


def _opening(
    sized: Sized, lots: Lots, held: Column, closing: Whole
) -> tuple[Whole, Checked, Whole]:
    """Steps that are opened, what the limits said, and what the instrument's bounds did."""
    draft = sized.draft
    instrument, settings = draft.case.instrument, draft.case.row.settings
    size = sized.steps
    subtracts = settings.subtract_exit_quantity.value and draft.formula is not None
    if subtracts and anywhere(closing > 0):
        left = lots.of_steps(size).values - held.values
        size = most(left, 0) // lots.step
    minimum = _least_steps(draft, in_money=True)
    maximum = instrument.max_qty // instrument.lot_step
    small, large = size < minimum, size > int(maximum)
    raises = settings.below_minimum.value == "raise"
    note = choose(small, RAISED if raises else BELOW, choose(large, CUT, FITS))
    size = choose(small, minimum if raises else 0, choose(large, int(maximum), size))
    step = one(instrument.lot_step)
    checked = check(
        draft,
        sized.numbers,
        Opening(
            steps=size,
            closing=Column(closing, lots.scale),
            least=minimum,
            lot=instrument.lot_step,
            step=step,
        ),
    )
    return checked.steps, checked, note


def _least_steps(draft: Draft, *, in_money: bool) -> int:
    """The least that is traded, in whole steps: the minimum quantity, and what the minimum notional needs."""
    instrument = draft.case.instrument
    lot = Fraction(instrument.lot_step)
    minimum = Fraction(instrument.min_qty)
    if in_money and instrument.min_notional > 0:
        assert draft.price is not None, "a draft without a price is refused"
        worth = Fraction(draft.price) * Fraction(instrument.multiplier)
        minimum = max(minimum, Fraction(instrument.min_notional) / worth)
    return max(1, ceil(minimum / lot))


def _spared(draft: Draft, checked: Checked) -> Any:
    """Whether the limit that refused the opening cuts, and so leaves the closing leg."""
    if draft.case.row.limits.over_limit.value != "cut":
        return False
    cutting = [reason in CUTS for reason in checked.reasons]
    # A check that cannot decide is no limit that cuts: it is not among CUTS.
    if isinstance(checked.refused, int):
        return cutting[checked.refused]
    return np.array(cutting)[checked.refused]


def _reduces(sized: Sized, lots: Lots, closing: Whole) -> Any:
    """Whether the closing leg is for the broker to cut at what is there.

    Not where others of the account's strategies have netted it away; in hedge mode nothing is netted,
    and an exit that is not `reduce_only` would open the other side.
    """
    facts = sized.draft.case.facts
    if not facts.shared or sized.draft.case.row.account.hedged:
        return True
    net = total(sized.numbers.get("own"), sized.numbers.get("others"))
    scale = max(net.scale, lots.scale)
    whole = at_scale(net, scale).values * facts.sign
    return whole >= at_scale(Column(closing, lots.scale), scale).values


def _groups(sized: Sized, lots: Lots, held: Column, outcome: Outcome, write: Write) -> list[Group]:
    """One group for each combination that occurs."""
    checked = outcome.checked
    code = outcome.note + 4 * (outcome.closing > 0) + 8 * (outcome.opening > 0)
    code = code + 16 * outcome.reduces + 32 * outcome.whole_refused
    unit = 64
    for said in checked.said:
        code, unit = code + unit * said.where, unit * 2
    code = code + unit * checked.refused
    columns = _columns(sized, lots, held, outcome)
    if isinstance(code, int):
        return [_group(sized, checked, columns, True, code, unit, write)]
    order = np.argsort(code, kind="stable")
    found, starts = np.unique(code[order], return_index=True)
    members = np.split(order, starts[1:])
    return [
        _group(sized, checked, columns, where, int(number), unit, write)
        for number, where in zip(found, members, strict=True)
    ]


def _columns(sized: Sized, lots: Lots, held: Column, outcome: Outcome) -> dict[str, Column]:
    """Every number that legs and words may name, of all accounts."""
    draft = sized.draft
    assert draft.move is not None
    step = draft.case.instrument.lot_step
    minimum = _least_steps(draft, in_money=draft.move.opens) * step
    columns = {
        "held": held,
        "closing": Column(outcome.closing, lots.scale),
        "minimum": one(minimum),
        "maximum": one(draft.case.instrument.max_qty),
    }
    if draft.move.opens:
        columns["opening"] = lots.of_steps(outcome.opening)
        columns["size"] = lots.of_steps(sized.steps)
    if sized.target is not None:
        columns["target"] = sized.target
    for number, said in enumerate(outcome.checked.said):
        columns[f"before{number}"] = lots.of_steps(said.before)
        if said.after is not None:
            columns[f"after{number}"] = lots.of_steps(said.after)
    return columns


def _group(
    sized: Sized, checked: Checked, columns: dict[str, Column], where: Any, code: int, unit: int,
    write: Write,
) -> Group:  # fmt: skip
    draft = sized.draft
    numbers = sized.numbers.part(where)
    assert numbers is not None
    assert draft.move is not None
    why = checked.reasons[code // unit]
    legs: list[Shape] = []
    if code & 4 and draft.closing is not None:
        legs.append(_shape(draft, "closing", draft.closing, 0, reduces=bool(code & 16)))
    if code & 8 and draft.opening is not None:
        legs.append(_shape(draft, "opening", draft.opening, len(legs), reduces=False))
    if code & 32 and why is not None:
        reason = why
    elif legs:
        reason = Reason.ORDER
    elif draft.move.kept_from_swap:
        reason = Reason.SIDE_SWAP_NOT_ALLOWED
    else:
        reason = why or Reason.BELOW_MINIMUM
    words = _words(draft, checked, code)
    needed = dict.fromkeys((*(shape.lots for shape in legs), *_names(words)))
    said = {
        "words": words,
        "legs": tuple(legs),
        "cancel_open": draft.cancel_open,
        "numbers": {
            name: _listed(columns.get(name), name, numbers, where) for name in sorted(needed)
        },
    }
    return write(numbers, draft, reason, said)


def _listed(column: Column | None, name: str, numbers: Numbers, where: Any) -> Listed:
    if column is None:
        return listed(numbers.get(name))
    return listed(Column(of_part(column.values, where), column.scale))


@lru_cache(maxsize=1024)
def _names(words: str) -> tuple[str, ...]:
    """The numbers that a template names."""
    return tuple(field for _, field, _, _ in Formatter().parse(words) if field)


def _shape(draft: Draft, lots: str, terms: Terms, leg: int, *, reduces: bool) -> Shape:
    assert draft.move is not None
    return Shape(
        leg=leg,
        side=draft.move.side,
        lots=lots,
        ord_type=terms.ord_type,
        time_in_force=terms.time_in_force,
        price=terms.price,
        reduce_only=reduces,
        stop_px=terms.stop_px,
        trail_amount=terms.trail_amount,
        trail_percent=terms.trail_percent,
        protect=draft.protect if lots == "opening" else None,
    )


def _words(draft: Draft, checked: Checked, code: int) -> str:
    """The arithmetic of one group as a template: a person puts the numbers in and computes again."""
    assert draft.move is not None
    words = draft.words
    if code & 4:
        words = f"{words}; closes {{closing}} of {{held}}".lstrip("; ")
    if draft.move.opens:
        subtracts = draft.case.row.settings.subtract_exit_quantity.value and draft.formula
        if draft.move.close != "none" and subtracts:
            words += "; the exit's {held} counts"
        words += " → {size} lots"
    words += _NOTES[code % 4]
    for number, said in enumerate(checked.said):
        if not code & (64 << number):
            continue
        if said.words.startswith(";"):
            words += said.words
        elif said.after is None:
            words += f"; {{before{number}}} lots are over {said.words}"
        else:
            words += f", cut from {{before{number}}} to {{after{number}}} lots by {said.words}"
    return words
