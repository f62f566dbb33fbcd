"""From a plan to intents: the durable promise before the first byte (step 5).

1. Read the plan's row, and take the entries of our partitions, in fan-out order. Those that a
   person is asked about are not among them: fanout/intend_approved.py.
2. A chunk at a time, in one transaction: the leases held (fenced), the order rows, the wishes to
   cancel, the audit records; with the last chunk the parts are struck off `plan_parts`.
3. After each commit its orders go to their lanes, behind whatever of their accounts may have
   been sent and is not known: a lane that was just taken over settles the old before the new.

Crash before 2: the parts are still listed, the next owner does them. Between chunks: the rows
that exist are intents (doubt), the others are written now; names are derived, so nobody writes
an order twice. After 2, before 3: intents that no lane knows; the sweep adopts them as doubt.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec
import structlog

from audit import ring, sealing
from fanout import book
from fanout.accounts import Accounts
from fanout.heard import Heard
from fanout.lanes import Job, Lane, Lanes
from fanout.leases import Leases
from fanout.order import Order, OrdState, cl_ord_id, order_id
from fanout.plan import Leg, Plan, PlanEntry
from fanout.ports import BrokerAccount
from fanout.reasons import Reason
from fanout.stops_venues import NO_VENUES, Venues
from fanout.trace import current, under
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import NotFound
from tenancy.scope import TenantScope
from tenancy.values import AccountID, SignalID, StrategyID

log = structlog.get_logger()

FIRST_CHUNK = 32
CHUNK = 256
"""Accounts in a transaction. The first is small: what is first on the wire need not wait for the rest."""

_PLAN = """
SELECT p.plan::text, s.traceparent FROM plans p JOIN signals s USING (signal_id)
WHERE p.signal_id = %s"""
_STRIKE = "DELETE FROM plan_parts WHERE signal_id = %s AND part = ANY(%s) AND NOT approved"


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction writes."""

    strategy_id: StrategyID
    at: datetime
    epochs: dict[int, int]
    orders: list[Order]
    wishes: set[tuple[AccountID, str]]
    bare: frozenset[tuple[AccountID, str]] = frozenset()
    """Of the wishes, those that mean what stands behind a position as well."""
    released: tuple[Order, ...] = ()
    """Held orders that this transaction makes intents; their rows are there already."""

    @property
    def lanes(self) -> set[Lane]:
        """Where something is done."""
        orders = (*self.orders, *self.released)
        return {(order.account_id, order.symbol) for order in orders} | self.wishes


class Intender:
    """Writes intents and hands them to the lanes."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        accounts: Accounts,
        lanes: Lanes,
        clock: Clock,
        venues: Venues = NO_VENUES,
        watch: Callable[[TenantScope, Iterable[str]], None] = lambda scope, names: None,
        heard: Heard | None = None,
    ) -> None:
        """`watch` is told of every order that is held: the gateway's stop engine has it from then on.

        `heard`: the wake-ups by which this worker knows of others' plans.
        """
        self._heard = heard or Heard()
        self._venues = venues
        self._watch = watch
        self._database = database
        self._leases = leases
        self._accounts = accounts
        self._lanes = lanes
        self._clock = clock
        self._busy: set[SignalID] = set()

    async def intend(
        self, scope: TenantScope, signal: SignalID, parts: Sequence[int], plan: Plan | None = None,
        traceparent: str = "",
    ) -> None:  # fmt: skip
        """Do these parts of the signal's plan. Raises LeaseLost, Unavailable, OutcomeUnknown.

        One at a time for each signal: planner and sweep may both come. Who comes second leaves;
        what is then still listed, the next sweep does.
        """
        if signal in self._busy:
            return
        self._busy.add(signal)
        try:
            if plan is None:
                plan, kept = await self._read(scope, signal)
                traceparent = self._heard.parent("plan", signal, kept)
            epochs = {part: self._leases.epoch(part) for part in sorted(parts)}
            for chunk, last in _chunks(plan.acting(epochs)):
                await self._write(scope, plan, traceparent, chunk, epochs, last=last)
        finally:
            self._busy.discard(signal)

    async def _read(self, scope: TenantScope, signal: SignalID) -> tuple[Plan, str]:
        async with self._database.tenant(scope) as conn:
            row = await (await conn.execute(_PLAN, (signal,))).fetchone()
        if row is None:
            raise NotFound(f"no plan of signal {signal}")
        return msgspec.json.decode(row[0], type=Plan), row[1]

    async def _write(
        self,
        scope: TenantScope,
        plan: Plan,
        traceparent: str,
        entries: Sequence[PlanEntry],
        epochs: dict[int, int],
        *,
        last: bool,
    ) -> None:
        """One chunk; its orders' traces go on under its span."""
        said = {"signal_id": plan.signal_id, "accounts": len(entries), "parts": len(epochs)}
        with under(traceparent, "intend", said):
            await self._write_chunk(scope, plan, current(traceparent), entries, epochs, last=last)

    async def _write_chunk(
        self,
        scope: TenantScope,
        plan: Plan,
        traceparent: str,
        entries: Sequence[PlanEntry],
        epochs: dict[int, int],
        *,
        last: bool,
    ) -> None:
        # Never before the plan, whatever another host's clock says: a minute's orders are counted by it.
        now = max(self._clock.now(), plan.planned_at)
        batch = Batch(
            strategy_id=plan.strategy_id,
            at=now,
            epochs=epochs,
            orders=[
                order_of(
                    plan.signal_id, plan.strategy_id, scope, entry, leg,
                    deadline=plan.deadline, traceparent=traceparent, now=now,
                    epoch=epochs[entry.part],
                )
                for entry in entries
                for leg in entry.legs
            ],
            wishes=wishes_of(entries),
            bare=bare_of(entries),
        )  # fmt: skip

        async def fence(conn: Connection) -> Batch:
            await self._leases.fence(conn, epochs)
            if last:
                await conn.execute(_STRIKE, (plan.signal_id, list(epochs)))
            return batch

        await self.write(scope, batch, fence)

    async def write(
        self, scope: TenantScope, batch: Batch, decide: Callable[[Connection], Awaitable[Batch]]
    ) -> None:
        """One transaction of intents, and their orders to the lanes after it.

        `decide` is its beginning: it holds the leases, and says which part of `batch` goes.
        """
        wanted = {account for account, _ in batch.lanes}
        accounts = await self._accounts.get(scope, wanted)
        if absent := wanted - accounts.keys():
            # Now, and not after the commit, when its orders would be in nobody's hand.
            raise NotFound(f"no account {min(absent)} in this tenant")
        # The keys of their records, before the transaction holds anybody up.
        await ring.current().prepare(scope.tenant_id, map(sealing.account, wanted))
        # Known before they are durable: a sweep that runs meanwhile must not adopt them. What
        # was known already is in a lane since an earlier, unfinished round, and stays known.
        names = {order.cl_ord_id for order in (*batch.orders, *batch.released)}
        new = names - self._lanes.known
        self._lanes.known |= new
        try:
            async with self._database.tenant(scope) as conn:
                goes = self._held(await decide(conn))
                written = await book.intend(conn, scope, goes.orders)
                before = await self._unsettled(conn, goes, names)
                cancels = await book.want_cancelled(
                    conn,
                    scope,
                    goes.wishes,
                    names,
                    strategy=batch.strategy_id,
                    at=batch.at,
                    protection=goes.bare,
                )
        except BaseException:
            self._lanes.known -= new  # if they were written after all, the sweep adopts them
            raise
        goes_out = written | {order.cl_ord_id for order in goes.released}
        later = {order.cl_ord_id for order in goes.orders if order.state is not OrdState.INTENT}
        self._lanes.known -= (new - goes_out) | (new & later)
        held = {o.cl_ord_id for o in goes.orders if o.state is OrdState.HELD} & written
        if held:
            self._watch(scope, held)
        for order in before:
            if order.cl_ord_id not in self._lanes.known:
                adopted = _job("resolve", scope, accounts, order, batch.epochs)
                sent_by = self._clock.now()
                self._lanes.put(msgspec.structs.replace(adopted, sent_by=sent_by))
        for order in cancels:
            self._lanes.put(_job("cancel", scope, accounts, order, batch.epochs))
        for order in (*goes.orders, *goes.released):
            if order.cl_ord_id in goes_out and order.state is OrdState.INTENT:
                self._lanes.put(_job("send", scope, accounts, order, batch.epochs))

    async def _unsettled(self, conn: Connection, batch: Batch, names: set[str]) -> list[Order]:
        """What may have been sent in the batch's lanes before it and is in nobody's hand.

        A lane forgets a name after the commit that settles it. Such a one is in the first answer if
        the commit came after that was read, and known no more when it is heard: so it is read again.
        """
        parts, known = list(batch.epochs), self._lanes.known
        found = await book.read_unsettled(conn, batch.lanes, parts, names)
        loose = {order.cl_ord_id for order in found} - known
        if not loose:
            return []
        again = await book.read_unsettled(conn, batch.lanes, parts, names)
        return [o for o in again if o.cl_ord_id in loose and o.cl_ord_id not in known]

    def _held(self, batch: Batch) -> Batch:
        """The batch with what its brokers cannot wait for `held` instead of `intent`."""
        orders = [self._venues.held_if_needed(order) for order in batch.orders]
        return msgspec.structs.replace(batch, orders=orders)


def _job(
    kind: Literal["send", "resolve", "cancel"],
    scope: TenantScope,
    accounts: Mapping[AccountID, BrokerAccount],
    order: Order,
    epochs: Mapping[int, int],
) -> Job:
    return Job(
        kind=kind,
        scope=scope,
        account=accounts[order.account_id],
        order=order,
        epoch=epochs[order.part],
    )


def wishes_of(entries: Iterable[PlanEntry]) -> set[tuple[AccountID, str]]:
    """Of which account and symbol the open orders are to be cancelled."""
    return {(e.account_id, e.symbol) for e in entries if e.cancel_open and e.symbol}


def bare_of(entries: Iterable[PlanEntry]) -> frozenset[tuple[AccountID, str]]:
    """Where the sender's own word is `cancel`: stops and targets behind positions go, too."""
    return frozenset(
        (e.account_id, e.symbol)
        for e in entries
        if e.cancel_open and e.symbol and e.reason is Reason.CANCEL_ONLY
    )


def order_of(
    signal: SignalID,
    strategy: StrategyID,
    scope: TenantScope,
    entry: PlanEntry,
    leg: Leg,
    *,
    deadline: datetime,
    traceparent: str,
    now: datetime,
    epoch: int,
) -> Order:
    """The first attempt of one leg, under the name that any process derives for it."""
    name = order_id(signal, entry.account_id, leg.leg)
    assert entry.symbol is not None
    return Order(
        cl_ord_id=cl_ord_id(name, 1),
        order_id=name,
        tenant_id=scope.tenant_id,
        signal_id=signal,
        strategy_id=strategy,
        account_id=entry.account_id,
        part=entry.part,
        leg=leg.leg,
        attempt=1,
        place=entry.place,
        broker=entry.broker,
        symbol=entry.symbol,
        side=leg.side,
        order_qty=leg.order_qty,
        ord_type=leg.ord_type,
        price=leg.price,
        time_in_force=leg.time_in_force,
        reduce_only=leg.reduce_only,
        stop_px=leg.stop_px,
        trail_amount=leg.trail_amount,
        trail_percent=leg.trail_percent,
        protect=leg.protect,
        signal_px=entry.signal_price,
        arrival_px=entry.market_price,
        cancel_at=None
        if entry.cancel_after_s is None
        else now + timedelta(seconds=entry.cancel_after_s),
        deadline=deadline,
        state=OrdState.INTENT if leg.leg == 0 else OrdState.WAITING,
        epoch=epoch,
        traceparent=traceparent,
        intent_at=now,
    )


def _chunks(entries: list[PlanEntry]) -> Iterable[tuple[list[PlanEntry], bool]]:
    """The entries in chunks, and whether each is the last; one empty chunk where there are none."""
    start, size = 0, FIRST_CHUNK
    while True:
        chunk = entries[start : start + size]
        start, size = start + size, CHUNK
        yield chunk, start >= len(entries)
        if start >= len(entries):
            return
