"""What an attempt came to, and when the next one is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

from gateway.admin.event_feed import Event
from gateway.notify.settings import NotifySettings

JITTER = 0.1


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is for the channel's owner. `gone`: the receiver wants no more (410).

    `ours`: it failed on our side before anything was sent; the receiver is not blamed for it.
    `excerpt`: how the other side's answer begins.
    """

    delivered: bool
    text: str
    status: int | None = None
    gone: bool = False
    ours: bool = False
    retry_after_s: float | None = None
    excerpt: str = ""


class Message(msgspec.Struct, frozen=True):
    """Something to tell: its id is the same at every attempt. `after`: the place in the log then.

    `type` and `timestamp` are for an e-mail's lines; `body` is what a webhook carries, and `said` what
    stands in it, for those who put it into words; None in a test message.
    """

    id: str
    type: str
    timestamp: str
    body: bytes
    after: int
    said: Event | Digest | Gap | None = None


class Gap(msgspec.Struct, frozen=True, kw_only=True, rename={"first": "from", "last": "to"}):
    """The records from `from` to `to`, both included, are not sent."""

    first: int
    last: int
    why: str


class Digest(msgspec.Struct, frozen=True, kw_only=True, rename={"first": "from", "last": "to"}):
    """What there was among the records from `from` to `to`, both included: how many of each kind.

    `failures`: how many of them somebody should look at; `events`: those, and then others, so many as fit.
    """

    first: int
    last: int
    since: str
    until: str
    counts: dict[str, int]
    failures: int
    events: tuple[Event, ...]


def pause_s(attempts: int, outcome: Outcome, settings: NotifySettings, chance: float) -> float:
    """Seconds until the next attempt, after so many in a row that failed (one at least).

    `chance`: 0 to 1. What the receiver asked for by Retry-After is granted, up to the longest pause.
    """
    if outcome.ours:
        return min(10.0, settings.longest_pause_s)
    step = _step(settings.pauses_s, attempts)
    pause = min(max(step, outcome.retry_after_s or 0.0), settings.longest_pause_s)
    return pause * (1 + JITTER * (2 * chance - 1))


def _step(pauses: Sequence[float], attempts: int) -> float:
    return pauses[min(max(attempts, 1), len(pauses)) - 1]


def read_retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds, from either form of Retry-After (RFC 9110 section 10.2.3); None for any other text."""
    if text is None or not text.isascii():
        return None
    if text.strip().isdigit():
        return float(text.strip()[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())
