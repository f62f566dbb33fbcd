"""What goes on while PostgreSQL is away: cancels and reductions, each durable on this host before it leaves.

New orders do not: without a durable intent nothing opens a position. What lessens risk goes on as long
as the lease does that this worker holds, in its own idea of it (fanout/leases.py), and no longer: a
worker whose lease has ended does nothing at all, for somebody else may own the lane by then. With
`worker.lease_ttl_s` of 5 s that is some seconds after PostgreSQL's last answer, and it begins `AWAY_S`
after it. Exactly these, of what this process has in memory:

- *Cancel.* An order that rests at its broker and that this worker follows (`Follower`), where
  the kill switch was told to cancel it before PostgreSQL went away and it opens (`Switch`: a working
  `cancel_open` or `flatten` over it), or where its own time is over (`cancelAfter`).
- *Reduce.* A stop behind a position that the gateway's stop engine holds, is reduce-only at a broker
  that enforces that, and whose price is reached by a price that is fresh. Not: targets, entries, what
  the kill switch halts, one whose commit is unknown, one whose target is at the broker, one in a lane
  that is at work (it stands still until PostgreSQL is back, and nothing overtakes it).

In this order, for each:

1. A line in the spill: which order, why, part and epoch of the lease, this worker; fsynced
   (audit/spill.py). *Crash after it: the drain brings it into the log, and asks the broker.*
2. The lease is looked at again.
3. The request. A stop goes out as an attempt of its own, `SPILLED` above the held one's, so that it
   shares its name with nothing that anybody else may send; it carries the lease's end as its deadline.
   *Crash or a lost answer: doubt, which the drain puts into the book as such.*
4. When PostgreSQL is back: fanout/spill_drain.py.

What a spill cannot do: refuse what happens elsewhere. If only this host lost PostgreSQL and died with
the spill undrained, the next owner on another host does not know that a stop was let go, and lets
the same stop go under its own name: both are reduce-only, so together they never open a position. On the
same host the next worker drains before it trades. A disk that refuses the line means: nothing is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import msgspec
import structlog

from audit.spill import Spill
from fanout import metrics
from fanout.accounts import Accounts
from fanout.carry import LEASE_MARGIN_S
from fanout.follow import Follower
from fanout.lanes import Job, Lanes
from fanout.leases import LeaseLost, Leases
from fanout.order import TARGET_LEG, Order, OrdState, cl_ord_id, order_id
from fanout.ports import Broker, BrokerAccount, CancelUnknown, Instrument, RateLimited, Unsent
from fanout.spill_drain import Drain, SpilledAct
from fanout.stops import Held, StopEngine
from fanout.stops_release import Wanted, to_send
from fanout.switch import Switch, opens
from tenancy.clock import Clock
from tenancy.errors import PortcullisError
from tenancy.pause import pause
from tenancy.scope import TenantScope
from tenancy.values import AccountID

log = structlog.get_logger()

AWAY_S = 0.75
"""After so long without an answer, three looks of the switch, PostgreSQL counts as away."""
EVERY_S = 0.1
PREPARE_S = 2.0
AGAIN_S = 0.25
SPILLED = 300
"""Added to the attempt of a held stop: a name that no other way leads to."""
ATTEMPTS_MAX = 900


class SpillPlace(msgspec.Struct, frozen=True):
    """Where the files are, and the host's key."""

    directory: Path
    key: bytes

    def __repr__(self) -> str:
        return f"SpillPlace({self.directory})"


class Spiller:
    """This worker's way around an absent PostgreSQL, and back."""

    def __init__(
        self,
        place: SpillPlace,
        drain: Drain,
        leases: Leases,
        switch: Switch,
        follower: Follower,
        stops: StopEngine,
        lanes: Lanes,
        accounts: Accounts,
        brokers: Mapping[str, Broker],
        clock: Clock,
        stale_s: float,
    ) -> None:
        """`stale_s`: a price that is older lets nothing go."""
        self._place = place
        self._drain = drain
        self._leases = leases
        self._switch = switch
        self._follower = follower
        self._stops = stops
        self._lanes = lanes
        self._accounts = accounts
        self._brokers = brokers
        self._clock = clock
        self._stale_s = stale_s
        self._spill: Spill | None = None
        self._writing = asyncio.Lock()
        self._cancelled: dict[str, bool] = {}
        """Of each order: whether its broker has said something clear."""
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._let_go: set[str] = set()
        """Held attempts that went out past PostgreSQL, for good: the engine may remember one as held for a
        moment after the drain, and PostgreSQL may be away again by then."""
        self._due_s = 0.0

    def __repr__(self) -> str:
        return f"Spiller({self._spill!r})"

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop. An error costs one round."""
        try:
            while not stop.is_set():
                try:
                    await self.round()
                except PortcullisError as error:
                    log.warning("spill_waits", error=str(error))
                except Exception:
                    log.exception("spill_failed")
                await pause(stop, EVERY_S)
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)
            with contextlib.suppress(PortcullisError):
                await self._bring_back()
        finally:
            if self._spill is not None:
                self._spill.close()

    async def take_over(self) -> None:
        """Before any lease is held: what dead workers of this host have left comes first.

        PostgreSQL away: it is left for the rounds; without it nobody takes a lease either.
        """
        try:
            await self._drain.left()
        except PortcullisError as error:
            log.warning("spills_wait", error=str(error))

    async def round(self) -> None:
        """PostgreSQL away: what is due. There: bring what was spilled into the log. Raises Unavailable."""
        if self._switch.age_s > AWAY_S:
            self._cancel_due()
            await self._reduce_due()
            return
        await self._bring_back()
        await self._prepare()

    # -------------------------------------------------------------- cancel

    def _cancel_due(self) -> None:
        now = self._clock.now()
        for job in self._follower.jobs():
            name = job.order.cl_ord_id
            if self._cancelled.get(name) or name in self._under_way:
                continue
            why, intervention = self._unwanted(job.order, now)
            if why and self._leases.holds(job.order.part):
                self._start(name, self._cancel(job, why, intervention))

    def _unwanted(self, order: Order, now: datetime) -> tuple[str, UUID | None]:
        refused = self._switch.stops.refusal(order)
        meant = refused is not None and refused.intervention_id in self._switch.stops.working
        if refused is not None and meant and opens(order):
            return refused.words, refused.intervention_id
        if order.cancel_at is not None and order.cancel_at <= now:
            return "its time is over", None
        return "", None

    async def _cancel(self, job: Job, why: str, intervention: UUID | None) -> None:
        order = job.order
        if order.cl_ord_id not in self._cancelled:
            self._leases.require(order.part, job.epoch)
            await self._keep(
                self._act("cancel", job.scope, order, job.epoch, why, intervention=intervention)
            )
            self._cancelled[order.cl_ord_id] = False
        self._leases.require(order.part, job.epoch)
        outcome = await self._brokers[order.broker].cancel(job.account, order)
        log.warning("spilled_cancel", cl_ord_id=order.cl_ord_id, outcome=repr(outcome))
        if isinstance(outcome, CancelUnknown):
            await asyncio.sleep(AGAIN_S)
        else:
            self._cancelled[order.cl_ord_id] = True

    # -------------------------------------------------------------- reduce

    async def _reduce_due(self) -> None:
        for held, price, instrument in await self._stops.reached_stops(self._stale_s):
            name = held.order.cl_ord_id
            account = self._accounts.remembered(held.order.account_id)
            if name in self._under_way or name in self._let_go or account is None:
                continue
            if not self._may_go(held.order):
                continue
            # From here on the engine leaves it alone, until the drain has told the book.
            self._stops.elsewhere.add(name)
            self._start(name, self._reduce(held, account, price, instrument))

    def _may_go(self, order: Order) -> bool:
        broker = self._brokers.get(order.broker)
        if broker is None or not (order.reduce_only and broker.caps.reduce_only):
            return False
        if not broker.caps.remembers or order.attempt + SPILLED > ATTEMPTS_MAX:
            return False
        if self._switch.stops.refusal(order) is not None:
            return False
        target = order_id(order.signal_id, order.account_id, TARGET_LEG) + "."
        known = self._lanes.known | {job.order.cl_ord_id for job in self._follower.jobs()}
        return not self._lanes.is_busy(order.account_id, order.symbol) and not any(
            name.startswith(target) for name in known
        )

    async def _reduce(
        self, held: Held, account: BrokerAccount, price: Decimal, instrument: Instrument | None
    ) -> None:
        broker = self._brokers[held.order.broker]
        needs_s = broker.request_timeout_s + LEASE_MARGIN_S
        try:
            self._leases.require(held.order.part, held.epoch, needs_s)
            order = attempt_of(held, price, instrument, self._clock.now())
            await self._keep(
                self._act(
                    "reduce", held.scope, order, held.epoch, f"its price was reached at {price}",
                    held=held.order.cl_ord_id,
                )
            )  # fmt: skip
            self._let_go.add(held.order.cl_ord_id)
        except (LeaseLost, OSError):
            self._stops.elsewhere.discard(
                held.order.cl_ord_id
            )  # nothing is durable, nothing leaves
            raise
        while True:
            await broker.turn(account, closes=True)
            not_after = self._leases.require(order.part, held.epoch, needs_s)
            outcome = await broker.submit(account, order, not_after=not_after)
            log.warning("spilled_reduction", cl_ord_id=order.cl_ord_id, outcome=repr(outcome))
            if not isinstance(outcome, Unsent | RateLimited):
                return  # whatever it was, the drain asks the broker
            await asyncio.sleep(AGAIN_S)

    # -------------------------------------------------------------- the file

    def _act(
        self, kind: Literal["cancel", "reduce"], scope: TenantScope, order: Order, epoch: int,
        why: str, *, held: str | None = None, intervention: UUID | None = None,
    ) -> SpilledAct:  # fmt: skip
        return SpilledAct(
            kind=kind, tenant_id=scope.tenant_id, worker=self._leases.worker_id, part=order.part,
            epoch=epoch, at=self._clock.now(), why=why, order=order, held=held,
            intervention_id=intervention,
        )  # fmt: skip

    async def _keep(self, act: SpilledAct) -> None:
        """Durable when this returns. Raises OSError."""
        async with self._writing:
            if self._spill is None:
                self._spill = await asyncio.to_thread(Spill, self._place.directory, self._place.key)
            await asyncio.to_thread(self._spill.append, msgspec.json.encode(act))
        metrics.SPILLED.labels(act.kind).inc()
        metrics.SPILL_WAITING.set(self._spill.lines)

    async def _bring_back(self) -> None:
        """Steps 4: ours, once nothing of it is under way, and what dead workers of this host left."""
        if self._spill is not None and not self._under_way:
            async with self._writing:
                spill = self._spill
                acts = await self._drain.file(await asyncio.to_thread(spill.path.read_bytes))
                self._spill = None
                await asyncio.to_thread(spill.remove)
            self._cancelled.clear()
            metrics.SPILL_WAITING.set(0)
            for scope, names in acts.items():
                self._stops.elsewhere -= names
                self._stops.watch(scope, names)

    async def _prepare(self) -> None:
        """While PostgreSQL answers: whose stops are held, and what workers that died meanwhile have left."""
        now = self._clock.monotonic()
        if now < self._due_s:
            return
        self._due_s = now + PREPARE_S
        await self._drain.left()
        wanted: dict[TenantScope, set[AccountID]] = {}
        for held in self._stops.all_held():
            wanted.setdefault(held.scope, set()).add(held.order.account_id)
        for scope, accounts in wanted.items():
            await self._accounts.get(scope, accounts)

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._alone(name, work))
        self._under_way[name] = task

    async def _alone(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """One act. Its error is its own."""
        try:
            await work
        except LeaseLost as error:
            log.info("spilled_act_left_to_the_next_owner", cl_ord_id=name, why=str(error))
        except OSError as error:
            metrics.SPILL_FAILURES.inc()
            log.error("spill_refused", cl_ord_id=name, why=str(error))
        except Exception:
            log.exception("spilled_act_failed", cl_ord_id=name)
        finally:
            del self._under_way[name]


def attempt_of(held: Held, price: Decimal, instrument: Instrument | None, at: datetime) -> Order:
    """The attempt under which a held stop goes out past PostgreSQL. Pure."""
    wanted = Wanted(order=held.seen(), price=price, instrument=instrument)
    attempt = held.order.attempt + SPILLED
    return msgspec.structs.replace(
        to_send(held.order, wanted),
        attempt=attempt,
        cl_ord_id=cl_ord_id(held.order.order_id, attempt),
        state=OrdState.IN_DOUBT,
        intent_at=at,
        epoch=held.epoch,
    )
