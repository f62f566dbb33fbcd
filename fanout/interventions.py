"""Carry out what the kill switch was told to do beyond stopping: cancel open orders, close positions.

The row of `interventions` is durable from the halt's own transaction. Every worker, every
`EVERY_S` while one is under way:

1. *Cancel.* For the partitions that it holds: a wish on each order that is meant, in chunks, with
   its audit record, and then the cancels to the lanes. *Crash after the wish: whoever owns the
   order next finds it.* Repeated until nothing is left, for an order that was on its way when the
   switch was thrown comes to the book later.
2. *Spread* (the platform's only; who holds its partition). A row of its own in each customer, once
   (unique on the platform's row). *Crash: the customers that are missing come next.*
3. *Close* (flatten only; who holds its partition). For each strategy, broker and symbol in which
   positions remain, in turn on the strategy and under the lease: a signal of our own, `exit` at
   market for exactly these accounts, and its row in `intervention_exits`, in one transaction. Its
   message id is derived from intervention, group and round, so nobody makes two. From there on it is
   a signal like any other: planned, intended, carried. *Crash after the commit: it is planned by
   whoever owns the strategy.*
4. What remains when the exit's orders are final (a partial fill, a refusal, an order that was on its
   way and filled) gets another round, after a pause that grows, `ROUNDS_MAX` times.
5. *End.* No position, nothing open, and the switch holds everywhere: `done`. Rounds used up:
   `failed`, and a person looks. Released meanwhile: the row says so, and nothing further is sent.

An exit is not sized while an opening of before waits unsent in its account: it would count as filled
and then be denied. In turn on the strategy no plan can put another one there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import msgspec
import structlog

from audit.inbox import Entry, append
from fanout import book, metrics, stops_book
from fanout import intervention_rows as rows
from fanout import intervention_rules as rules
from fanout.accounts import Accounts
from fanout.intervention_rows import Group, Intervention, Standing
from fanout.lanes import Job
from fanout.leases import LeaseLost, Leases
from fanout.order import Order, OrdState
from fanout.switch import Switch
from fanout.turn import turn
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import PortcullisError
from tenancy.ids import new_id
from tenancy.pause import pause
from tenancy.scope import TenantScope
from tenancy.values import PARTITIONS, AccountID, SignalID, StrategyID, TenantID, partition

log = structlog.get_logger()

EVERY_S = 0.25
IDLE_S = 0.05
AT_ONCE = 3
"""Interventions in hand at the same time, each with a database connection."""
CHUNK = 256
"""Orders in a transaction."""
LATE_S = 30.0
"""Who waits for it longer than this is told."""
ALL_PARTS = range(PARTITIONS)


class Interventions:
    """This worker's share in what is under way."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        accounts: Accounts,
        put: Callable[[Job], None],
        switch: Switch,
        clock: Clock,
        wake: Callable[[SignalID, StrategyID], None],
    ) -> None:
        """`put` gives a job to its lane; `wake` says that a signal of ours waits to be planned."""
        self._database = database
        self._leases = leases
        self._accounts = accounts
        self._put = put
        self._switch = switch
        self._clock = clock
        self._wake = wake

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop. While nothing is under way it costs no statement: the switch knows."""
        while not stop.is_set():
            working = bool(self._switch.stops.working)
            if working:
                await self.carry_on()
            else:
                metrics.INTERVENTION_AGE.set(0)
            await pause(stop, EVERY_S if working else IDLE_S)

    async def carry_on(self) -> None:
        """One step of everything that is under way. An error costs its own intervention one step."""
        try:
            async with self._database.connection() as conn:
                cursor = await conn.execute(
                    "SELECT intervention_id, tenant_id, tenant_kind, part, parent_state"
                    " FROM find_interventions()"
                )
                found = await cursor.fetchall()
        except PortcullisError as error:
            log.warning("interventions_wait", error=str(error))
            return
        gate = asyncio.Semaphore(AT_ONCE)
        ages = await asyncio.gather(*(self._step(gate, *each) for each in found))
        metrics.INTERVENTION_AGE.set(max(ages, default=0.0))

    async def _step(
        self,
        gate: asyncio.Semaphore,
        intervention: UUID,
        tenant: UUID,
        kind: str,
        part: int,
        parent_state: str | None,
    ) -> float:
        """One step of one; its age in seconds where it is ours to drive and goes on."""
        scope = TenantScope(tenant_id=TenantID(tenant), actor=rules.KILL_SWITCH)
        async with gate:
            try:
                if kind != "platform":
                    await self._cancel(scope, intervention)
                if self._leases.holds(part):
                    return await self._drive(scope, intervention, kind, parent_state)
            except LeaseLost as error:
                log.info("intervention_left_to_the_next_owner", why=str(error))
            except PortcullisError as error:
                log.warning("intervention_waits", intervention=str(intervention), error=str(error))
            except Exception:
                log.exception("intervention_failed", intervention=str(intervention))
        return 0.0

    # ------------------------------------------------------------------ cancel

    async def _cancel(self, scope: TenantScope, intervention: UUID) -> None:
        parts = self._leases.parts()
        more = bool(parts)
        while more:
            now = self._clock.now()
            async with self._database.tenant(scope) as conn:
                names = await rows.want_cancelled(conn, intervention, parts, now, CHUNK)
                orders = [order for order, _ in await book.read_orders(conn, names)]
                ended = [order for order in orders if order.state is OrdState.CANCELED]
                denied = await stops_book.deny_second_legs(conn, ended, now)
                entries = [*rules.cancels(orders, intervention, now), *denied]
                await append(conn, _records(scope, entries))
            await self._to_lanes(scope, orders)
            more = len(names) == CHUNK

    async def _to_lanes(self, scope: TenantScope, orders: Iterable[Order]) -> None:
        """What is not at a broker yet is cancelled by who carries it, when its outcome is known."""
        resting = [o for o in orders if o.state in (OrdState.NEW, OrdState.PARTIALLY_FILLED)]
        accounts = await self._accounts.get(scope, {order.account_id for order in resting})
        for order in resting:
            if order.account_id in accounts and self._leases.holds(order.part):
                self._put(
                    Job(
                        kind="cancel",
                        scope=scope,
                        account=accounts[order.account_id],
                        order=order,
                        epoch=self._leases.epoch(order.part),
                    )
                )

    # ------------------------------------------------------------------ drive

    async def _drive(
        self, scope: TenantScope, intervention: UUID, kind: str, parent_state: str | None
    ) -> float:
        """One step of it; its age in seconds, 0 where it has ended."""
        async with self._database.tenant(scope) as conn:
            work = await rows.read(conn, intervention)
            if work is None or work.state != "working":
                return 0.0
            stands = await rows.standing(conn, intervention, ALL_PARTS)
        age_s = (self._clock.now() - work.at).total_seconds()
        if kind == "platform":
            ended = await self._spread(scope, work)
        elif parent_state == "released":
            ended = await self._end(scope, work, "released", stands)
        else:
            ended = await self._close(scope, work, stands, age_s)
        if not ended and age_s > LATE_S and work.late_at is None:
            await self._tell_late(scope, work, stands)
        return 0.0 if ended else age_s

    async def _close(
        self, scope: TenantScope, work: Intervention, stands: Standing, age_s: float
    ) -> bool:
        if rules.is_done(work, stands, age_s):
            return await self._end(scope, work, "done", stands)
        if work.level != "flatten":
            return False
        now = self._clock.now()
        due = rules.exits_due(stands, now)
        for group, round in due.items():
            await self._exit(scope, work, group, stands.remaining[group], round)
        if rules.is_lost(stands, now):
            return await self._end(scope, work, "failed", stands)
        return False

    async def _exit(
        self,
        scope: TenantScope,
        work: Intervention,
        group: Group,
        accounts: tuple[AccountID, ...],
        round: int,
    ) -> bool:
        """Send one exit; False where there is nothing to send now, or no right to."""
        signal, now = SignalID(new_id()), self._clock.now()
        async with self._database.tenant(scope) as conn:
            await turn(conn, group.strategy_id)
            await self._leases.fence(conn, {work.part: self._leases.epoch(work.part)})
            still = await rows.read(conn, work.intervention_id, lock=True)
            if still is None or still.state != "working":
                return False
            ready = await rows.ready(conn, group, accounts)
            if not ready or not await rows.send_exit(
                conn, scope, work.intervention_id, group, ready, signal, round, now
            ):
                return False
            await append(
                conn, _records(scope, [rules.accepted(work, group, signal, ready, round, now)])
            )
        log.warning("exit_sent", intervention=str(work.intervention_id), round=round)
        self._wake(signal, group.strategy_id)
        return True

    async def _spread(self, scope: TenantScope, work: Intervention) -> bool:
        """The platform's: a row in each customer; done when all of theirs have ended."""
        async with self._database.connection() as conn:
            cursor = await conn.execute(
                "SELECT tenant_id FROM find_untouched(%s)", (work.intervention_id,)
            )
            tenants = [row[0] for row in await cursor.fetchall()]
        for tenant in tenants:
            there = TenantScope(tenant_id=TenantID(tenant), actor=rules.KILL_SWITCH)
            async with self._database.tenant(there) as conn:
                if await rows.insert(conn, _in_customer(work, there.tenant_id)):
                    await append(conn, _records(there, [rules.begun(work)]))
        async with self._database.connection() as conn:
            cursor = await conn.execute(
                "SELECT working, failed FROM intervention_counts(%s)", (work.intervention_id,)
            )
            counted = await cursor.fetchone()
        assert counted is not None
        if tenants or counted[0]:
            return False
        return await self._end(scope, work, "failed" if counted[1] else "done", None)

    async def _end(
        self, scope: TenantScope, work: Intervention, state: rows.State, stands: Standing | None
    ) -> bool:
        async with self._database.tenant(scope) as conn:
            if await rows.end(conn, work.intervention_id, state, self._clock.now()):
                await append(
                    conn, _records(scope, [await self._stopped(conn, work, state, stands)])
                )
        log.warning("intervention_ended", intervention=str(work.intervention_id), state=state)
        return True

    async def _tell_late(self, scope: TenantScope, work: Intervention, stands: Standing) -> None:
        metrics.INTERVENTIONS_LATE.labels(work.level).inc()
        async with self._database.tenant(scope) as conn:
            if await rows.mark_late(conn, work.intervention_id, self._clock.now()):
                entry = await self._stopped(conn, work, "late", stands)
                await append(conn, _records(scope, [entry]))

    async def _stopped(
        self, conn: Connection, work: Intervention, event: str, stands: Standing | None
    ) -> Entry:
        """The record of how it stands at its end, or when it takes too long: in counts."""
        cursor = await conn.execute(
            "SELECT count(*) FILTER (WHERE state = 'denied' AND cancel_requested_at IS NULL),"
            " count(*) FILTER (WHERE state = 'canceled') FROM orders WHERE intervention_id = %s",
            (work.intervention_id,),
        )
        counted = await cursor.fetchone()
        assert counted is not None
        counts: dict[str, Any] = {"denied": counted[0], "canceled": counted[1]}
        if stands is not None:
            counts |= {
                "exits": sum(exits.round for exits in stands.exits.values()),
                "positions_remaining": sum(map(len, stands.remaining.values())),
            }
        return rules.record(work, f"intervention.{event}", self._clock.now(), counts)


def _in_customer(work: Intervention, tenant: TenantID) -> Intervention:
    identity = new_id()
    return msgspec.structs.replace(
        work, intervention_id=identity, tenant_id=tenant, part=partition(identity),
        parent_id=work.intervention_id,
    )  # fmt: skip


def _records(scope: TenantScope, entries: Iterable[Entry]) -> list[tuple[TenantID, Entry]]:
    return [(scope.tenant_id, entry) for entry in entries]
