"""How workers share what a broker allows, so that the sum never exceeds it. Pure: time is an argument.

A limit of `limit` sends in any `window_s` seconds is divided in two:

- the *pool*, `limit` - reserve: kept by Redis for all workers together (`Pool` is the model of it, and
  fanout/shared_budget.py the script that does the same there, by Redis' own clock);
- the *reserve*, a fifth: each worker's own, in equal shares, for what closes alone. It asks nobody, so
  a close does not wait behind opens, nor for Redis.

A worker that cannot reach Redis goes on with an equal share of the pool. Why the sum stays below
the limit whoever can reach Redis or not, however it comes and goes, and though it forgets everything:

1. A worker that asks Redis is a *member* there: joined at its first word, away after `SILENT_S`
   without one. Who comes back joins anew, and so does everybody after a loss of Redis' memory.
2. Redis gives out the pool in the proportion of its members to all live workers, and counts a member
   only one window after it joined. So the shares of those who are not there, or were not a
   window ago, are not given out by Redis: their owners may be using them.
3. A worker uses its own share only `ASK_LIVES_S` + `SILENT_S` + one window after it last asked: by
   then Redis has counted it out for a window. (A word that lay in a buffer for longer than
   `ASK_LIVES_S` is refused there by its date: a Redis that hung does not count it in again.)
   It stops before it asks again.
4. How many workers live, everybody reads from PostgreSQL at each beat (`Crew`). Whoever begins uses no
   share before all others have counted it, which a lease's length makes sure of; who cannot read it
   divides by the most that it ever saw.
5. A step of Redis' clock by `SILENT_S` or more puts all members' dates in doubt: all join anew, and a
   window passes first. Left: a smaller step forward shortens that window by as much; a step back by
   just as long as everybody was away lets Redis count who is not there. Both are one window, once.

What it costs: after Redis was lost, or its clock was set, what opens waits for a window; where it stays
away, for `ASK_LIVES_S` + `SILENT_S` more. What closes has its reserve all the while. Where there are more
workers than places (`limit` 4 for 5 workers), a worker without Redis has no share and waits.

A promise of this kind is of *places*. A send that is held up after it got its place may still land
in a later window; the broker's 429 means *not placed*, so nothing is lost by that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import msgspec

SILENT_S = 2.0
"""After so long without a word a worker is not counted among Redis' members."""
ASK_LIVES_S = 0.5
"""Longer under way, a worker's word is not heeded."""
FAILURES = 2
"""So many words in a row without an answer, and a worker goes on alone."""
LOOK_S = 1.0
"""How often it then sees whether Redis is there again."""
RESERVE = 5
"""One part in so many is for what closes."""


class Rate(msgspec.Struct, frozen=True):
    """At most `limit` places in any `window_s` seconds, of which `burst` may be taken at once.

    Why that holds for burst + refill together: fanout/budget.py.
    """

    limit: int
    window_s: float
    burst: int

    def share(self, parts: int, of: int) -> Rate | None:
        """So many parts of it; None where that is less than one place."""
        limit = self.limit * parts // of
        if limit < 1:
            return None
        return Rate(limit, self.window_s, max(1, min(self.burst * parts // of, limit - 1)))

    @property
    def interval_s(self) -> float:
        """Between two places at the steady rate."""
        return self.window_s / max(1, self.limit - self.burst)

    @property
    def ahead_s(self) -> float:
        """No place is ever due later than this, of all of it or of any share."""
        return 2 * max(self.window_s, self.interval_s * self.burst)

    @property
    def slack_s(self) -> float:
        """How far ahead of the steady rate a burst may be."""
        return self.interval_s * (self.burst - 1)


def divided(limit: int, window_s: float, burst: int) -> tuple[Rate, Rate | None]:
    """Pool and reserve of a broker's limit. Raises ValueError unless 1 ≤ burst < limit and window_s > 0."""
    if not 1 <= burst < limit:
        raise ValueError(f"burst must be 1 to {limit - 1}, got {burst}")
    if window_s <= 0:
        raise ValueError(f"window_s must be greater than 0, got {window_s}")
    kept = limit // RESERVE
    pool = Rate(limit - kept, window_s, max(1, min(burst, limit - kept - 1)))
    return pool, Rate(kept, window_s, max(1, kept // 2)) if kept else None


def take(
    due: float, now: float, wanted: int, rate: Rate, most: int = 1_000_000
) -> tuple[int, float]:
    """How many of the wanted places are free now, and when the next is due after them."""
    granted = 0
    while granted < min(wanted, most) and due - rate.slack_s <= now:
        due = max(due, now) + rate.interval_s
        granted += 1
    return granted, due


class Member(msgspec.Struct):
    joined: float
    seen: float


class Pool:
    """What Redis keeps of one broker: who its members are, and when each key's next place is due."""

    def __init__(self, rate: Rate, silent_s: float = SILENT_S) -> None:
        self._rate, self._silent_s = rate, silent_s
        self._members: dict[str, Member] = {}
        self._due: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"Pool({self._rate}, members={sorted(self._members)})"

    def ask(
        self, now: float, worker: str, live: int, expires: float, wants: Mapping[str, int]
    ) -> dict[str, tuple[int, float]] | None:
        """Places granted to each key, and in how many seconds to ask again; None: too old a word."""
        if now > expires:
            return None
        self._members = {n: m for n, m in self._members.items() if self._is_here(m, now)}
        self._members.setdefault(worker, Member(now, now)).seen = now
        here = self._members.values()
        counted = sum(member.joined <= now - self._rate.window_s for member in here)
        rate = self._rate.share(min(counted, live), live)
        if rate is None:
            wait = min(member.joined for member in here) + self._rate.window_s - now
            return {key: (0, max(wait, 0.05)) for key in wants}
        return {key: self._take(key, now, wanted, rate) for key, wanted in wants.items()}

    def _is_here(self, member: Member, now: float) -> bool:
        return now - self._silent_s < member.seen <= now

    def _take(self, key: str, now: float, wanted: int, rate: Rate) -> tuple[int, float]:
        # After a step back of the clock nothing is due in the far future.
        due = min(self._due.get(key, now), now + self._rate.ahead_s)
        granted, self._due[key] = take(due, now, wanted, rate)
        return granted, max(0.0, self._due[key] - rate.slack_s - now)


class Crew:
    """How many workers are live, as this one knows. `settle_s`: how long the others may be behind."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._since: float | None = None
        self._counts: deque[tuple[float, int]] = deque()
        self._known = False
        self._most = 1

    def __repr__(self) -> str:
        return f"Crew(live={self.live()}, most={self._most})"

    def counted(self, live: int | None, now: float) -> None:
        """PostgreSQL says so at `now`, ourselves included; None: it does not answer."""
        self._known = live is not None
        if live is not None:
            self._since = now if self._since is None else self._since
            self._most = max(self._most, live)
            self._counts.append((now, live))
        while self._counts and self._counts[0][0] < now - self._settle_s:
            self._counts.popleft()

    def live(self) -> int:
        """By how many the limit is to be divided: the most of the last `settle_s`, that nobody is missed
        who could not write for a moment."""
        if not self._known or not self._counts:
            return self._most
        return max(1, *(live for _, live in self._counts))

    def settled(self, now: float) -> bool:
        """Whether all others have counted us."""
        return self._since is not None and now - self._since >= self._settle_s


class Share:
    """One worker's own part of one broker's limit: the reserve, and the pool's share without Redis."""

    def __init__(self, pool: Rate, reserve: Rate | None, crew: Crew) -> None:
        self._pool, self._reserve, self._crew = pool, reserve, crew
        self._asked_at = float("-inf")
        self._failed = 0
        self._look_at = float("-inf")
        self._pool_due: dict[str, float] = {}
        self._reserve_due: dict[str, float] = {}

    @property
    def by_redis(self) -> bool:
        """Whether Redis is asked for places now."""
        return self._failed < FAILURES

    def asked(self, now: float) -> None:
        """A word to Redis leaves at `now`: from here on our own share is not ours."""
        self._asked_at = now

    def heard(self) -> None:
        """Redis has answered, or at least it would."""
        self._failed = 0

    def failed(self, now: float) -> None:
        """It did not answer, or not in time: that word may still have been heeded."""
        self._failed += 1
        self._look_at = now + LOOK_S

    def looks(self, now: float) -> bool:
        """Without Redis: is it time to see whether it is there again? Without a word that counts."""
        return not self.by_redis and now >= self._look_at

    def alone_from(self) -> float:
        """From when on our share of the pool is ours, unless we ask Redis again."""
        return self._asked_at + ASK_LIVES_S + SILENT_S + self._pool.window_s

    def close(self, key: str, now: float) -> bool:
        """May something that closes go now, out of the reserve? Then its place is taken."""
        rate = self._reserve and self._reserve.share(1, self._crew.live())
        if not rate or not self._crew.settled(now):
            return False
        granted, self._reserve_due[key] = take(self._reserve_due.get(key, now), now, 1, rate)
        return granted == 1

    def alone(self, key: str, now: float, wanted: int) -> tuple[int, float]:
        """As Pool.ask, for one key, out of our share of the pool."""
        if now < self.alone_from() or not self._crew.settled(now):
            return 0, max(0.05, self.alone_from() - now)
        rate = self._pool.share(1, self._crew.live())
        if rate is None:
            return 0, self._pool.window_s
        granted, self._pool_due[key] = take(self._pool_due.get(key, now), now, wanted, rate)
        return granted, max(0.0, self._pool_due[key] - rate.slack_s - now)
