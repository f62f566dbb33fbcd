"""The course of a run: settle at a rate, measure it, judge it, rest after a break, go on. Pure.

    settle ──► measure ──► held:  settle at the next rate
       ▲                  broke: rest until what is owed is done, then settle
       └──────────────────┘

Time and everything counted so far are arguments, so a whole search is played through in a test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from loadtest.swarm.knee import Objectives, Repeat, Search, Seen, percentile

REST_MOST_S = 60.0
"""Whatever is then still owed, the search goes on."""
DONE_SHARE = 0.01
"""A rest is over when no more than this part of all orders ever owed is still owed: some signals make
none (an exit that overtook its entry), and would be waited for in vain."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of each phase. `settle_s` has to outlast what generators tell late."""

    settle_s: float = 3.0
    measure_s: float = 15.0
    rest_s: float = 5.0

    def __post_init__(self) -> None:
        for name in ("settle_s", "measure_s", "rest_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: more than 0 seconds, not {getattr(self, name):g}")


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Everything so far, since the run began. `took_ms`: answers by milliseconds since their intended start."""

    at_s: float
    sent: int
    failed: int
    executed: int
    took_ms: Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One measurement. `broke`: the objective that did not hold, in words. Times as in Totals."""

    senders: int
    began_s: float
    ended_s: float
    seen: Seen
    broke: str


class Course:
    """Where the run is. `followers`: orders that each accepted signal owes."""

    def __init__(
        self, search: Search | Repeat, objectives: Objectives, timing: Timing, *, followers: int
    ) -> None:
        self.search = search
        self.steps: list[Step] = []
        self._objectives = objectives
        self._timing = timing
        self._followers = followers
        self._phase: Literal["settle", "measure", "rest"] = "settle"
        self._first: Totals | None = None
        self._since: Totals | None = None

    def at(self, now: Totals) -> int | None:
        """How many senders there shall be now; None: the run is over."""
        if self._since is None or self._first is None:
            self._first = self._since = now
        passed_s = now.at_s - self._since.at_s
        match self._phase:
            case "settle" if passed_s >= self._timing.settle_s:
                self._enter("measure", now)
            case "measure" if passed_s >= self._timing.measure_s:
                self._judge(self._since, now)
            case "rest" if passed_s >= self._timing.rest_s and self._rested(passed_s, now):
                self._enter("settle", now)
        resting = self._phase == "rest" and self.search.wanted is not None
        return 1 if resting else self.search.wanted

    def _enter(self, phase: Literal["settle", "measure", "rest"], now: Totals) -> None:
        self._phase, self._since = phase, now

    def _judge(self, since: Totals, now: Totals) -> None:
        senders = self.search.wanted
        assert senders is not None, "a step is measured only where one is wanted"
        seen = between(since, now, self._followers)
        broke = seen.broke(self._objectives)
        self.steps.append(
            Step(senders=senders, began_s=since.at_s, ended_s=now.at_s, seen=seen, broke=broke)
        )
        self.search.tell(held=not broke)
        self._enter("rest" if broke else "settle", now)

    def _rested(self, passed_s: float, now: Totals) -> bool:
        assert self._first is not None
        whole = between(self._first, now, self._followers)
        left = whole.owed - whole.executed
        return passed_s >= REST_MOST_S or left <= max(2 * self._followers, DONE_SHARE * whole.owed)


def between(since: Totals, now: Totals, followers: int) -> Seen:
    """What happened from one count to the other."""
    took = Counter(now.took_ms)
    took.subtract(since.took_ms)
    sent, failed = now.sent - since.sent, now.failed - since.failed
    return Seen(
        seconds=now.at_s - since.at_s,
        sent=sent,
        failed=failed,
        p99_ms=percentile(took, 99),
        owed=(sent - failed) * followers,
        executed=now.executed - since.executed,
    )
