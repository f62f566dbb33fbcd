"""Who may trade which partition: leases with an epoch, kept in PostgreSQL.

One transaction a beat renews what is ours and takes what nobody holds, up to our fair share.
A lease counts from *before* the request that renewed it, by the monotonic clock, so that our
own idea of it always ends before PostgreSQL's does. It ends by the time of day as well, if that says
so first: a virtual machine that its host froze has a monotonic clock that did not count it, and only
a time of day that was put right tells. A step forward costs a beat, one back lengthens nothing.

`require()` is asked before every send, for as long as the send may take: two workers never own one
lane, and a request under way never outlives the lease that allowed it. A worker that cannot reach
PostgreSQL stops sending by itself.

PostgreSQL counts by the time of day of *its* host, which somebody may set forward. So that nobody takes
a lease that still stands for its owner, its end in PostgreSQL is not enough: who takes it has seen
the row unrenewed (same epoch, same end) for a whole `ttl_s` by its own monotonic clock. Why that holds,
whatever PostgreSQL's clock does:

1. An owner believes in its lease until T + ttl_s, where T is before the request that renewed it.
2. A renewal changes the row's end, for `now()` moved on. Whoever sees it there sees it after T,
   and counts from after it has seen it: its ttl_s ends after the owner's.
3. It compares once more in the statement that takes: a renewal that came between stops it.
4. No wait is needed where nobody believes anything: a lease that was given back (its end is
   -infinity), and our own (its holder is this very run of ours, which has dropped it).

A step forward thus costs the owner one beat (it takes the lease again, under a new epoch) and others
nothing. A step back leaves ends in the far future: these, too, end by being watched. What it
costs: who has just started waits for the whole of a dead worker's lease. The owner's own check,
and not_after at the exchange, stay as they are.

What a crash leaves: leases that run out. Whoever takes one finds every order of the partition
that is not final, and treats an intent as doubt.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import msgspec
import structlog

from fanout import metrics
from fanout.shares import Crew
from tenancy.clock import Clock
from tenancy.database import Connection, Database, Told
from tenancy.errors import OutcomeUnknown, PortcullisError, Unavailable
from tenancy.pause import pause
from tenancy.values import PARTITIONS

log = structlog.get_logger()

_BEAT = """
INSERT INTO workers (worker_id, seen_at) VALUES (%(me)s, now())
ON CONFLICT (worker_id) DO UPDATE SET seen_at = now()"""
_FORGET = "DELETE FROM workers WHERE seen_at < now() - make_interval(secs => 60)"
_LIVE = "SELECT count(*) FROM workers WHERE seen_at > now() - make_interval(secs => %(ttl)s)"
# Rows are locked in one order everywhere, here and by who fences: none waits for the other.
_RENEW = """
UPDATE leases SET expires_at = now() + make_interval(secs => %(ttl)s)
WHERE part IN (SELECT part FROM leases WHERE holder = %(me)s AND expires_at > now()
               AND NOT part = ANY(%(overdue)s::smallint[]) ORDER BY part FOR UPDATE)
RETURNING part, epoch"""
_TAKE = """
UPDATE leases SET holder = %(me)s, epoch = epoch + 1,
                  expires_at = now() + make_interval(secs => %(ttl)s)
WHERE part IN (SELECT part FROM leases WHERE
               expires_at = '-infinity' OR (holder = %(me)s AND expires_at <= now())
               OR ((expires_at <= now() OR expires_at > now() + make_interval(secs => %(ttl)s))
                   AND (part, epoch, expires_at) IN (SELECT * FROM unnest(
                        %(parts)s::smallint[], %(epochs)s::bigint[], %(ends)s::timestamptz[])))
               ORDER BY part LIMIT %(most)s FOR UPDATE SKIP LOCKED)
RETURNING part, epoch"""
_SEEN = "SELECT part, epoch, expires_at FROM leases WHERE expires_at > '-infinity'"
_RELEASE = "UPDATE leases SET expires_at = '-infinity' WHERE holder = %s AND part = ANY(%s)"
_STILL = """
SELECT l.part, l.epoch FROM leases l
JOIN unnest(%s::smallint[], %s::bigint[]) AS n(part, epoch) USING (part, epoch)
WHERE l.holder = %s AND l.expires_at > now() ORDER BY l.part FOR SHARE OF l"""

Seen = tuple[int, int, datetime]
"""A lease's row: partition, epoch, end."""

YOUNG_BEATS = 5
"""How many times as often a worker beats during the length of its first lease."""


class LeaseLost(PortcullisError):
    """The partition belongs to another worker, or will before we could be done. Nothing was sent."""

    code = "lease_lost"


class Lease(msgspec.Struct, frozen=True):
    epoch: int
    until: float  # monotonic seconds
    until_at: datetime

    def left_s(self, clock: Clock) -> float:
        """For how long it is ours still, by whichever clock says less."""
        return min(self.until - clock.monotonic(), (self.until_at - clock.now()).total_seconds())


class Leases:
    """This worker's partitions."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        worker_id: str,
        *,
        ttl_s: float,
        crew: Crew | None = None,
    ) -> None:
        """`crew` is told how many workers are live, whenever that is known."""
        self._crew = crew
        self._watched: dict[Seen, float] = {}  # since when a row has stood so
        self._database = database
        self._clock = clock
        self.worker_id = worker_id
        self._ttl_s = ttl_s
        self._held: dict[int, Lease] = {}
        self._leaving: dict[int, float] = {}  # since when
        # A beat that was under way while a partition was given back would bring it back to life.
        self._one_at_a_time = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Leases({self.worker_id}, parts={self.parts()})"

    def parts(self) -> list[int]:
        """The partitions that are ours now and stay ours."""
        return sorted(part for part in self._held if self.holds(part) and part not in self._leaving)

    def holds(self, part: int) -> bool:
        """Is the partition ours now?"""
        lease = self._held.get(part)
        return lease is not None and lease.left_s(self._clock) > 0

    def epoch(self, part: int) -> int:
        """Under which epoch the partition is ours. Raises LeaseLost."""
        if not self.holds(part):
            raise LeaseLost(f"partition {part} is not ours")
        return self._held[part].epoch

    def require(self, part: int, epoch: int, for_s: float = 0.0) -> datetime:
        """The moment, UTC, until which the partition is ours under this very epoch.

        Raises LeaseLost where that is less than `for_s` seconds away, or where the lease was lost
        and taken again: somebody else may have settled the orders of the old epoch meanwhile.
        """
        lease = self._held.get(part)
        remaining = lease.left_s(self._clock) if lease is not None else 0.0
        if lease is None or lease.epoch != epoch or remaining <= for_s:
            raise LeaseLost(f"partition {part} is not ours under epoch {epoch} for {for_s:g} s")
        return self._clock.now() + timedelta(seconds=remaining)

    async def fence(self, conn: Connection, epochs: dict[int, int]) -> None:
        """Hold these leases (part: epoch) for the length of the caller's transaction.

        Raises LeaseLost.
        """
        await (await self.ask_fence(conn, epochs))()

    async def ask_fence(self, conn: Connection, epochs: dict[int, int]) -> Told[None]:
        """The same in a pipeline of the caller's, who must not commit before it was told."""
        asked = await conn.execute(_STILL, self._values(set(epochs.items())))

        async def told() -> None:
            if len(set(await asked.fetchall())) != len(epochs):
                raise LeaseLost(f"partitions {sorted(epochs)} are not all ours any more")

        return told

    async def still_held(
        self, conn: Connection, epochs: set[tuple[int, int]]
    ) -> set[tuple[int, int]]:
        """Those of these leases (part, epoch) that are ours, held for the caller's transaction."""
        return set(await (await conn.execute(_STILL, self._values(epochs))).fetchall())

    def _values(self, epochs: set[tuple[int, int]]) -> tuple[list[int], list[int], str]:
        return [part for part, _ in epochs], [epoch for _, epoch in epochs], self.worker_id

    async def beat(self) -> set[int]:
        """Renew, and take our share of what is free; the partitions newly taken. Raises Unavailable."""
        async with self._one_at_a_time:
            return await self._beat()

    async def _beat(self) -> set[int]:
        started, started_at = self._clock.monotonic(), self._clock.now()
        # A lane that is in doubt for long must not keep a partition from who is to have it: the
        # lease is let run out, which it does only after every request that it allowed.
        overdue = [p for p, since in self._leaving.items() if started - since > self._ttl_s]
        values = {"me": self.worker_id, "ttl": self._ttl_s, "overdue": overdue}
        taken: list[tuple[int, int]] = []
        async with self._database.shared() as conn:
            await conn.execute(_BEAT, values)
            await conn.execute(_FORGET)
            live = await (await conn.execute(_LIVE, values)).fetchone()
            ripe = self._watch(await (await conn.execute(_SEEN)).fetchall())
            renewed = await (await conn.execute(_RENEW, values)).fetchall()
            share = ceil(PARTITIONS / max(1, live[0] if live else 1))
            most = share - len(renewed)
            if most > 0:
                values |= ripe | {"most": most}
                taken = await (await conn.execute(_TAKE, values)).fetchall()
        until, until_at = started + self._ttl_s, started_at + timedelta(seconds=self._ttl_s)
        self._held = {part: Lease(epoch, until, until_at) for part, epoch in [*renewed, *taken]}
        leaving = sorted(self._held)[share:]
        self._leaving = {part: self._leaving.get(part, started) for part in leaving}
        metrics.PARTITIONS_HELD.set(len(self._held))
        if self._crew is not None:
            self._crew.counted(live[0] if live else None, self._clock.monotonic())
        return {part for part, _ in taken}

    def _watch(self, rows: list[Seen]) -> dict[str, list[Any]]:
        """The rows that have stood as they are for as long as any owner's belief lasts."""
        now = self._clock.monotonic()  # after the look: an owner's belief began before it
        self._watched = {row: self._watched.get(row, now) for row in rows}
        ripe = [row for row, since in self._watched.items() if now - since >= self._ttl_s]
        return {
            name: [row[at] for row in ripe] for at, name in enumerate(("parts", "epochs", "ends"))
        }

    def leaving(self) -> set[int]:
        """Partitions beyond our share: no new work; give them back when their lanes are idle.

        One whose lanes are not idle within `ttl_s` is not renewed any more.
        """
        return set(self._leaving)

    async def release(self, parts: list[int]) -> None:
        """Give partitions back; for us they end before the statement begins. Raises Unavailable."""
        async with self._one_at_a_time:
            for part in parts:
                self._held.pop(part, None)
            async with self._database.shared() as conn:
                await conn.execute(_RELEASE, (self.worker_id, parts))

    async def keep(self, stop: asyncio.Event, *, every_s: float) -> None:
        """Beat until told to stop. A beat that fails is tried again; leases run out by themselves."""
        began = self._clock.monotonic()
        while not stop.is_set():
            try:
                await self.beat()
            except (Unavailable, OutcomeUnknown) as error:
                log.warning("lease_beat_failed", error=str(error), held=len(self.parts()))
                if self._crew is not None:
                    self._crew.counted(None, self._clock.monotonic())
            # At first more often: what others give back to us should not lie there for a beat.
            young = self._clock.monotonic() - began < self._ttl_s
            await pause(stop, every_s / YOUNG_BEATS if young else every_s)
