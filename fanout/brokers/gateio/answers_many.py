"""What Gate.io says of several orders at once, and of a change to one. No I/O, no clock, raises nothing.

A batch is judged element by element (spec brokers.md): Gate answers in the order of the request, with
`succeeded` and either the order or a `label`. The answer as a whole is unclear, and every order of it
InDoubt, where the status is, where it is no list, or one of another length. An element is judged as a
single order would be: what names another order, or cannot be read, is InDoubt.

    amend: 200 that shows what was asked          Amended
           200 that shows something else          AmendUnknown
           4xx with a label                       AmendRefused, `too_late` where the order is final or gone
           everything else                        AmendUnknown
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from fanout.abilities import Amended, AmendOutcome, AmendRefused, AmendUnknown
from fanout.brokers.gate import labels, verdict
from fanout.brokers.gate.reading import Answer, Unreadable, decode, label_of
from fanout.brokers.gateio import answers
from fanout.order import Order, OrdState
from fanout.ports import (
    Acked,
    CancelOutcome,
    CancelTooLate,
    CancelUnknown,
    InDoubt,
    Outcome,
    RateLimited,
)


class _Placed(msgspec.Struct):
    succeeded: bool
    label: str = ""
    detail: str = ""
    message: str = ""


class _Canceled(msgspec.Struct):
    id: str | int
    succeeded: bool
    message: str = ""


class _Armed(msgspec.Struct):
    trigger_time: int = msgspec.field(name="triggerTime")


class _Brief(msgspec.Struct):
    status: str


class _Price(msgspec.Struct):
    price: Decimal
    size: Decimal


# ------------------------------------------------------------------ batch


def outcomes(
    answer: Answer,
    orders: Sequence[Order],
    *,
    not_after: datetime,
    now: datetime,
    clock_error_s: float,
) -> list[Outcome]:
    """One per order, in their order."""
    if answer.status not in (200, 201):
        said = verdict.not_placed(
            answer, labels.REJECTED, not_after=not_after, now=now, clock_error_s=clock_error_s
        )
        return [said] * len(orders)
    try:
        rows = [bytes(raw) for raw in decode(answer.body, list[msgspec.Raw])]
        if len(rows) != len(orders):
            raise Unreadable(f"{len(rows)} answers to {len(orders)} orders")
    except Unreadable as why:
        return [InDoubt(cause=str(why), not_after=not_after, raw=answer.body)] * len(orders)
    late = (not_after - now).total_seconds() <= clock_error_s
    return [
        _outcome(row, order, not_after=not_after, late=late)
        for row, order in zip(rows, orders, strict=True)
    ]


def _outcome(row: bytes, order: Order, *, not_after: datetime, late: bool) -> Outcome:
    try:
        seen = decode(row, _Placed)
        if seen.succeeded:
            return Acked(report=answers.report(row, order))
    except Unreadable as why:
        return InDoubt(cause=str(why), not_after=not_after, raw=row)
    if seen.label in labels.TOO_MANY:
        return RateLimited(retry_after_s=1.0)
    text = seen.detail or seen.message or seen.label
    said = f"not succeeded {seen.label}".rstrip()
    return verdict.refusal(
        seen.label, text, said, row, labels.REJECTED, not_after=not_after, late=late
    )


# ------------------------------------------------------------------ amend


def amended(answer: Answer, wanted: Order) -> AmendOutcome:
    """`wanted`: the order as it is to stand."""
    if answer.status == 200:
        return _amended(answer.body, wanted)
    label, text = label_of(answer)
    if not 400 <= answer.status < 500 or not label or label in labels.SERVER_FAULT:
        return AmendUnknown(cause=f"status {answer.status} {label}".rstrip())
    return AmendRefused(code=label, text=text, too_late=label in labels.TOO_LATE)


def _amended(body: bytes, wanted: Order) -> AmendOutcome:
    try:
        report = answers.report(body, wanted)
        shown = decode(body, _Price)
    except Unreadable as why:
        return AmendUnknown(cause=str(why))
    if report.ord_status is OrdState.CANCELED:
        return AmendUnknown(cause=f"after the amendment Gate shows it {report.text or 'cancelled'}")
    if abs(shown.size) != wanted.order_qty or shown.price != wanted.price:
        return AmendUnknown(cause=f"Gate shows size {shown.size} at {shown.price}")
    return Amended(report=report)


# ------------------------------------------------------------------ cancel and countdown


def all_canceled(answer: Answer) -> bool:
    """Whether Gate says that nothing it was asked to cancel is open any more."""
    if answer.status != 200:
        return False
    try:
        return all(one.status == "finished" for one in decode(answer.body, list[_Brief]))
    except Unreadable:
        return False


def canceled(answer: Answer, ids: Sequence[str]) -> dict[str, CancelOutcome]:
    """By Gate's id. It does not say how much was filled before: a cancel that it took is still a question."""
    unknown = f"status {answer.status} {label_of(answer)[0]}".rstrip()
    found: dict[str, CancelOutcome] = {one: CancelUnknown(cause=unknown) for one in ids}
    if answer.status != 200:
        return found
    try:
        rows = decode(answer.body, list[_Canceled])
    except Unreadable as why:
        return {one: CancelUnknown(cause=str(why)) for one in ids}
    for row in rows:
        if str(row.id) not in found:
            continue
        found[str(row.id)] = (
            CancelUnknown(cause="cancelled, and what was filled before is not said: find() tells")
            if row.succeeded
            else _not_canceled(row.message)
        )
    return found


def _not_canceled(message: str) -> CancelOutcome:
    if any(label in message for label in labels.TOO_LATE):
        return CancelTooLate(text=message)
    return CancelUnknown(cause=f"not cancelled: {message}")


def armed(answer: Answer, seconds: int) -> bool:
    """Whether Gate says when it will cancel, or, for 0, that it will not."""
    if answer.status != 200:
        return False
    try:
        at_ms = decode(answer.body, _Armed).trigger_time
    except Unreadable:
        return False
    return (at_ms > 0) == (seconds > 0)
