"""Notices that a signal is done, and says so once.

The learner and the planner name signals that may have ended, after their commit; this looks at them
together, a moment later, in a task of its own: on the way of an order there is nothing but a name put
into a set. Whoever commits the last word looks after that commit, so somebody always sees all of it.

What a dead worker named, and ends that no worker wrote (a person's no), the sweep finds: it looks at
the signals of our strategies that are not done, which are a partial index (migration 0016), and never
at history. Finishing needs no lease, because the row is finished only where it was not.
"""

from __future__ import annotations

import asyncio
from asyncio import FIRST_COMPLETED
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

import structlog

from fanout import outcome_rows, telling
from fanout.leases import Leases
from fanout.trace import now_ns
from tenancy.clock import Clock
from tenancy.database import Database
from tenancy.errors import PortcullisError
from tenancy.scope import Actor, TenantScope
from tenancy.values import SignalID, TenantID

log = structlog.get_logger()

GATHER_S = 0.02
"""After a first name others are waited for: the ends of one signal's orders come together."""
QUIET_S = 0.25
"""And while signals are planned, for so long at most: what is told of the first is not told at the expense
of the orders of the next."""
SWEEP_S = 2.0
AT_ONCE = 64
"""Signals of one tenant in a transaction."""
FINISHER = Actor(kind="algo", id="outcomes")

_AMONG = "SELECT signal_id, tenant_id FROM find_ended_among(%b::uuid[])"
_ALL = "SELECT signal_id, tenant_id FROM find_ended_signals(%b::smallint[])"


class Outcomes:
    """Finishes outcomes, for the life of a worker."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        clock: Clock,
        quiet: Callable[[float], Awaitable[None]],
    ) -> None:
        """`quiet` returns when nobody plans any more, or after so many seconds."""
        self._quiet = quiet
        self._database = database
        self._leases = leases
        self._clock = clock
        self._named: set[UUID] = set()
        self._woken = asyncio.Event()

    def __repr__(self) -> str:
        return f"Outcomes(named={len(self._named)})"

    def may_have_ended(self, signal: SignalID) -> None:
        """Look at this signal soon."""
        self._named.add(signal)
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        stopping = asyncio.create_task(stop.wait())
        next_sweep = 0.0
        while not stop.is_set():
            named = asyncio.create_task(self._woken.wait())
            await asyncio.wait({stopping, named}, timeout=SWEEP_S, return_when=FIRST_COMPLETED)
            named.cancel()
            await asyncio.sleep(GATHER_S)
            await self._quiet(QUIET_S)
            try:
                await self.look()
                if self._clock.monotonic() >= next_sweep:
                    await self._finish(_ALL, self._leases.parts())
                    next_sweep = self._clock.monotonic() + SWEEP_S
            except PortcullisError as error:
                log.warning("outcomes_wait", error=str(error))

    async def look(self) -> None:
        """Look at what was named. Raises Unavailable, OutcomeUnknown: the sweep looks again."""
        self._woken.clear()
        named, self._named = self._named, set()
        if named:
            await self._finish(_AMONG, sorted(named))

    async def _finish(self, query: str, values: Sequence[Any]) -> None:
        async with self._database.connection() as conn:
            rows = await (await conn.execute(query.encode(), (list(values),))).fetchall()
        by_tenant: dict[TenantID, list[UUID]] = defaultdict(list)
        for signal, tenant in rows:
            by_tenant[tenant].append(signal)
        for tenant, signals in by_tenant.items():
            scope = TenantScope(tenant_id=tenant, actor=FINISHER)
            for first in range(0, len(signals), AT_ONCE):
                await self._write(scope, signals[first : first + AT_ONCE])

    async def _write(self, scope: TenantScope, signals: Sequence[UUID]) -> None:
        """One transaction. What PostgreSQL refuses is done one by one: one signal silences no other."""
        begun_ns = now_ns()
        try:
            async with self._database.tenant(scope) as conn:
                finished = await outcome_rows.finish(conn, scope, signals, self._clock.now())
        except PortcullisError:
            raise
        except Exception:
            log.exception("outcome_not_written", signals=[str(signal) for signal in signals])
            for signal in signals if len(signals) > 1 else ():
                await self._write(scope, [signal])
        else:
            for one in finished:
                telling.ended(one.outcome, one.first_ms, one.traceparent, begun_ns)
