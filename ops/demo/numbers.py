"""The figures of a demo run, from what the exchange, the rows and the sender saw. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

import msgspec

from ops.trial.exchange import Executed
from ops.trial.outcome import Story
from ops.trial.sender import Sent


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from the moment the webhook was sent."""

    accept_p50: float
    accept_p99: float
    first_order_p50: float
    last_order_p50: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The one JSON object that `--json` prints."""

    accounts: int
    signals: int
    orders: int
    fills: int
    skipped: int
    lost: int
    duplicates: int
    audit: str
    latency_ms: Latency


def planned_legs(story: Story) -> set[tuple[str, int]]:
    """(account, leg) of every order that the plan promised."""
    return {(str(e.account_id), leg.leg) for e in story.plan.entries for leg in e.legs}


def lost(stories: Sequence[Story]) -> int:
    """Planned orders that neither filled nor were refused by the broker or by us, with a word why."""
    missing = 0
    for story in stories:
        ended = {
            (str(a.account_id), a.leg)
            for a in story.attempts
            if a.state in ("filled", "canceled", "rejected", "denied", "expired")
        }
        missing += len(planned_legs(story) - ended)
    return missing


def duplicates(executed: Sequence[Executed], stories: Sequence[Story]) -> int:
    """Orders that the exchange executed more than once, or that nobody planned."""
    counts = Counter(order.order for order in executed)
    known = {a.order_id for story in stories for a in story.attempts}
    return sum(n - 1 for n in counts.values()) + sum(1 for name in counts if name not in known)


def result(
    *,
    accounts: int,
    sent: Sequence[Sent],
    timed: Sequence[Sent],
    stories: dict[str, Story],
    executed: Sequence[Executed],
    verdict: str,
) -> Result:
    """`timed`: the signals that were sent undisturbed, for the latencies."""
    attempts = [a for story in stories.values() for a in story.attempts]
    firsts, lasts = [], []
    for one in timed:
        story = stories[one.signal_id or ""]
        sent_at = [a.sent_at.timestamp() for a in story.attempts if a.sent_at]
        acked_at = [a.acked_at.timestamp() for a in story.attempts if a.acked_at]
        if sent_at and acked_at:
            firsts.append(min(sent_at) - one.sent_at)
            lasts.append(max(acked_at) - one.sent_at)
    accepted = sorted(s.took_s for s in timed)
    return Result(
        accounts=accounts,
        signals=len({s.signal_id for s in sent if s.signal_id}),
        orders=len({a.order_id for a in attempts}),
        fills=sum(1 for a in attempts if a.cum_qty > 0),
        skipped=sum(1 for s in stories.values() for e in s.plan.entries if not e.legs),
        lost=lost(list(stories.values())),
        duplicates=duplicates(executed, list(stories.values())),
        audit=verdict,
        latency_ms=Latency(
            accept_p50=_ms(median(accepted)),
            accept_p99=_ms(accepted[int(0.99 * (len(accepted) - 1))]),
            first_order_p50=_ms(median(firsts)),
            last_order_p50=_ms(median(lasts)),
        ),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
