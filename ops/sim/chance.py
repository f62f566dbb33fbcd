"""What happens in one seed: how bad the world is, drawn from the seed and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

ON_THE_WAY = (
    "unsent", "lost_before", "lost_after", "late", "slow_answer", "error_before", "error_after",
    "rate_limited", "rejected", "partial", "maintenance", "garbled",
)  # fmt: skip
"""What can happen to one order on its way to the exchange and back."""
WHEN_ASKED = ("no_answer", "old_picture", "slow")
WHEN_CANCELLED = ("lost_before", "lost_after", "no_answer")

AT_ONCE = (
    "crash", "freeze", "connection_lost", "postgres_away", "redis_away", "clock_step", "venue_away",
    "halt",
)  # fmt: skip
"""What can happen to the world at a moment. `crash`: a worker; another takes its place."""

MESSAGES = ("buy", "sell", "flip", "exit", "limit", "protected", "held", "cancel", "add")


POINTS = ("before commit", "after commit", "turn", "before send", "sent", "answered", "find")
"""Where it hurts most: `turn` is right before a worker looks at its lease for the last time."""
AROUND_THE_SEND = ("after commit", "turn", "before send")


@dataclass(frozen=True)
class Mood:
    """How bad one seed is. Shares of what can go wrong, per request."""

    name: str
    workers: int
    accounts: int
    strategies: int
    signals: int
    way: float
    asked: float
    moments: int
    kinds: tuple[str, ...]
    moments_of: tuple[str, ...]
    lasts_s: float
    points: tuple[str, ...] = POINTS
    by_point: float = 0.7
    """Share of crashes, sleeps and lost connections that wait for a point of somebody's work."""
    countdown_most: int = 25
    """A point is hit at this time that somebody comes to it, at the latest."""
    sweep_s: float = 1.0
    """How long a worker may go by what it is told alone."""
    crowd: int = 16
    """1: what is learned waits while any other order is on its way."""
    renews_s: float | None = None
    """So often every account's key is replaced."""
    away_most_s: float = 4.0
    """How long a server is away, or a halt holds, at most."""


def drawn(seed: int) -> Mood:
    """The mood of one seed."""
    return mood(Random(f"{seed}:world"))


def mood(random: Random) -> Mood:
    """Most seeds have all kinds of faults, some two, and some do one evil thing on purpose, often."""
    which = random.choices(
        ("all", "halting", "two", "sleepy", "dying", "renewing"), weights=(45, 5, 25, 10, 10, 5)
    )[0]
    two = which == "two"
    usual = Mood(
        name=which,
        workers=random.choice((2, 2, 3)),
        accounts=random.randint(2, 4),
        strategies=random.choice((1, 1, 2)),
        signals=random.randint(5, 9),
        way=random.choice((0.05, 0.25, 0.4)),
        asked=random.choice((0.0, 0.1, 0.3)),
        moments=random.randint(2, 7),
        kinds=tuple(random.sample(ON_THE_WAY, 2)) if two else ON_THE_WAY,
        moments_of=tuple(random.sample(AT_ONCE, 2)) if two else AT_ONCE,
        lasts_s=random.uniform(8.0, 16.0),
        crowd=random.choice((1, 16)),
    )
    if which == "renewing":
        return replace(usual, renews_s=0.3, moments=1, workers=2, accounts=4, signals=40)
    if which == "halting":
        return replace(
            usual, moments_of=("halt",), moments=10, kinds=("unsent", "rate_limited", "maintenance"), way=0.6,
            signals=14, away_most_s=8.0,
        )  # fmt: skip
    if which == "sleepy":
        return replace(
            usual, moments_of=("freeze",), moments=3, points=AROUND_THE_SEND, by_point=1.0,
            countdown_most=8, signals=9, strategies=1,
        )  # fmt: skip
    if which == "dying":
        return replace(
            usual, moments_of=("crash",), moments=3, points=("turn", "before send"), by_point=1.0,
            countdown_most=8, signals=14, strategies=1, workers=2, sweep_s=3.0,
        )  # fmt: skip
    return usual


def message(random: Random, prices: dict[str, Any]) -> dict[str, Any]:
    """The body of one signal."""
    ticker = random.choices(sorted(prices), weights=(4, 1))[0]
    price = float(prices[ticker])
    kind = random.choice(MESSAGES)
    body: dict[str, Any] = {"ticker": ticker, "quantity": random.randint(1, 20)}
    side = random.choice(("buy", "sell"))
    if kind in ("exit", "cancel"):
        return {"ticker": ticker, "action": kind}
    if kind == "add":
        return body | {"action": "add"}
    body |= {"action": side, "signalPrice": price}
    away = (
        random.choice((0.98, 0.999, 1.001))
        if side == "buy"
        else random.choice((1.02, 1.001, 0.999))
    )
    if kind == "limit":
        body |= {"orderType": "limit", "limitPrice": round(price * away, 1)}
        if random.random() < 0.3:
            body["cancelAfter"] = random.randint(2, 10)
    if kind == "held":
        stop = 1.002 if side == "buy" else 0.998
        body |= {"orderType": "stop", "stopPrice": round(price * stop, 1)}
    if kind == "protected":
        body |= {"stopLoss": {"percent": 1}, "takeProfit": {"percent": 1}}
    return body
