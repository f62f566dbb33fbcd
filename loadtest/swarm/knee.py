"""Which rate to try next, and where the knee is: step up until an objective breaks, then bisect. Pure.

    known good ── 0 ──► start ──► × growth ──► … ──► breaks
                                        └── bisect between the two ──┘

Rates are numbers of senders, each of the same pace. The knee is the highest number at which every
objective held, known to `precision`; a number counts as broken when it broke `tries` times, so that
one bad second of the machine is no knee. Where start and most are the same, that number alone is tried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Objectives:
    """What has to hold in each step."""

    p99_ms: float = 100.0
    """Intended start to answer, 99 of 100."""
    errors: float = 0.001
    """Part of the requests that were not answered 202."""
    lag_s: float = 1.0
    """How much the orders that are owed may grow within a step, in seconds of its own rate."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a step showed. `owed`: orders of the signals that were accepted; `executed`: at the exchange."""

    seconds: float
    sent: int
    failed: int
    p99_ms: float
    owed: int
    executed: int

    @property
    def lag_s(self) -> float:
        """By how much the orders owed grew, in seconds of what came; below 0 where they became fewer."""
        return (self.owed - self.executed) * self.seconds / self.owed if self.owed else 0.0

    def broke(self, objectives: Objectives) -> str:
        """The first objective that did not hold, in words; empty where all did."""
        if self.sent == 0:
            return "nothing was answered"
        if self.failed > objectives.errors * self.sent:
            return f"{self.failed} of {self.sent} requests failed"
        if self.p99_ms > objectives.p99_ms:
            return f"p99 {self.p99_ms:g} ms, more than {objectives.p99_ms:g}"
        if self.lag_s > objectives.lag_s:
            return f"orders fell {self.lag_s:.1f} s behind, more than {objectives.lag_s:g}"
        return ""


class Search:
    """One search. Ask `wanted`, try it, tell() how it went, until `wanted` is None."""

    def __init__(
        self, *, start: int, most: int, growth: float = 2.0, precision: float = 0.1, tries: int = 2
    ) -> None:
        if not 1 <= start <= most:
            raise ValueError(f"start: 1 to {most} (the most there can be), not {start}")
        if growth <= 1:
            raise ValueError(f"growth: more than 1, not {growth:g}")
        if not 0 < precision < 1:
            raise ValueError(f"precision: between 0 and 1, not {precision:g}")
        if tries < 1:
            raise ValueError(f"tries: 1 or more, not {tries}")
        self._start, self._most = start, most
        self._growth, self._precision, self._tries = growth, precision, tries
        self._failures = 0
        self.good = 0
        """The highest number at which every objective held; 0: none."""
        self.broken: int | None = None
        """The lowest number at which one did not; None: none yet."""

    def __repr__(self) -> str:
        return f"<Search good {self.good}, broken {self.broken}, next {self.wanted}>"

    @property
    def wanted(self) -> int | None:
        """How many to try next; None: the knee is known, or beyond what there can be."""
        if self.broken is None:
            if self.good == self._most:
                return None
            return min(self._most, math.ceil(self.good * self._growth)) or self._start
        if self._start == self._most or self.broken - self.good <= max(
            1, int(self.good * self._precision)
        ):
            return None
        return (self.good + self.broken) // 2

    @property
    def found(self) -> bool:
        """It ended between a number that held and one that did not."""
        return self.wanted is None and self.broken is not None

    def tell(self, *, held: bool) -> None:
        """How the wanted number went. Raises ValueError where none is wanted."""
        tried = self.wanted
        if tried is None:
            raise ValueError("the search is over: nothing was to be tried")
        if held:
            self._failures, self.good = 0, tried
            return
        self._failures += 1
        if self._failures == self._tries:
            self._failures, self.broken = 0, tried


class Repeat:
    """The same rate again and again, whether or not it holds: a soak. Asked and told as a Search is."""

    def __init__(self, *, senders: int, times: int) -> None:
        if senders < 1 or times < 1:
            raise ValueError(f"senders, times: 1 or more, not {senders} and {times}")
        self._senders, self._left = senders, times
        self._held = True

    def __repr__(self) -> str:
        return f"<Repeat {self._senders}, {self._left} times more>"

    @property
    def wanted(self) -> int | None:
        return self._senders if self._left else None

    @property
    def good(self) -> int:
        """The rate, if it held each time so far; else 0."""
        return self._senders if self._held else 0

    found = False
    """It looks for none."""

    def tell(self, *, held: bool) -> None:
        """How one more time went. Raises ValueError where none is wanted."""
        if not self._left:
            raise ValueError("it was repeated as often as was asked for")
        self._left -= 1
        self._held = self._held and held


def percentile(counts: Mapping[int, int], percent: float) -> float:
    """Of samples counted by value: the smallest that `percent` per cent do not exceed (nearest rank).

    0 where there are none.
    """
    wanted = math.ceil(sum(counts.values()) * percent / 100)
    for value in sorted(counts):
        wanted -= counts[value]
        if wanted <= 0 < counts[value]:
            return float(value)
    return 0.0
