"""What an answer to a new order says: may it exist? The one table for every kind of Gate's orders. Pure.

    200, 201 that `read` can read            Acked
    other 2xx, unknown words, an empty 201   InDoubt, with the bytes
    429, TOO_MANY_REQUESTS, TOO_FAST         RateLimited
    4xx with a label of labels.AUTH          AuthFailed
    REQUEST_EXPIRED after our own deadline   Unsent: it was slow, and Gate did not take it
    4xx with any other label                 Rejected (unknown label: kind "other")
    5xx, a server-fault label, 4xx without
    a label, 1xx, 3xx                        InDoubt, with the bytes

Gate names no label that promises "closed for maintenance, nothing placed", so Maintenance is never
answered. Source: https://www.gate.com/docs/developers/apiv4, error handling.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from fanout.brokers.gate import labels
from fanout.brokers.gate.reading import Answer, Unreadable, label_of, retry_after_s
from fanout.ports import (
    Acked,
    AuthFailed,
    InDoubt,
    Outcome,
    RateLimited,
    Rejected,
    RejectKind,
    Report,
    Unsent,
)


def outcome(
    answer: Answer,
    read: Callable[[bytes], Report],
    rejected: Mapping[str, RejectKind],
    *,
    not_after: datetime,
    now: datetime,
    clock_error_s: float,
) -> Outcome:
    """Never raises. `read` raises Unreadable; `not_after`: the request's X-Gate-Exptime; `now`: when the
    answer was read, both by Gate's clock."""
    if answer.status in (200, 201):
        try:
            return Acked(report=read(answer.body))
        except Unreadable as why:
            return InDoubt(cause=str(why), not_after=not_after, raw=answer.body)
    return not_placed(answer, rejected, not_after=not_after, now=now, clock_error_s=clock_error_s)


def not_placed(
    answer: Answer,
    rejected: Mapping[str, RejectKind],
    *,
    not_after: datetime,
    now: datetime,
    clock_error_s: float,
) -> Outcome:
    """What an answer that shows no order says of one that was to be placed. Never raises."""
    label, text = label_of(answer)
    if answer.status == 429 or (400 <= answer.status < 500 and label in labels.TOO_MANY):
        return RateLimited(retry_after_s=retry_after_s(answer, now))
    late = (not_after - now).total_seconds() <= clock_error_s
    said = f"status {answer.status} {label}".rstrip()
    if not 400 <= answer.status < 500:
        label = ""  # of no account outside a 4xx: the order may exist
    return refusal(label, text, said, answer.body, rejected, not_after=not_after, late=late)


def refusal(
    label: str,
    text: str,
    said: str,
    raw: bytes,
    rejected: Mapping[str, RejectKind],
    *,
    not_after: datetime,
    late: bool,
) -> Outcome:
    """What a label says. `said` is for the log; `late`: X-Gate-Exptime had passed when it was read."""
    if not label or label in labels.SERVER_FAULT:
        return InDoubt(cause=said, not_after=not_after, raw=raw)
    if label == labels.EXPIRED and late:
        # Not our clock: the request was slow and its own deadline has passed. It was not placed.
        return Unsent(cause=f"arrived after its X-Gate-Exptime: {text}")
    kind = labels.AUTH.get(label)
    if kind is not None:
        return AuthFailed(kind=kind, text=f"{label}: {text}")
    return Rejected(code=label, kind=rejected.get(label, "other"), text=text)
