"""From a plan to intents: the durable promise before the first byte (step 5).

1. Take the entries of our partitions, in fan-out order, from the plan's row. Those that a person is
   asked about are not among them: fanout/intend_approved.py.
2. A chunk at a time, in one transaction (fanout/writing.py): the leases held (fenced), the order rows,
   the wishes to cancel, the audit records; with the last chunk the parts are struck off `plan_parts`.
3. After each commit its orders go to their lanes.

Who plans writes the first chunk of its own partitions with the plan, in one commit, where it has the
keys of their records at hand (`begin`): what fits into it is on the wire one commit sooner, and was never
listed. Who reads another's plan writes it in the transaction that reads.

Crash before 2: the parts are still listed, the next owner does them. Between chunks: the rows
that exist are intents (doubt), the others are written now; names are derived, so nobody writes
an order twice. After 2, before 3: intents that no lane knows; the sweep adopts them as doubt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

import msgspec

from fanout.heard import Heard
from fanout.leases import Leases
from fanout.order import Order, OrdState, cl_ord_id, order_id
from fanout.plan import Leg, Plan, PlanEntry
from fanout.reasons import Reason
from fanout.trace import current, under
from fanout.writing import Batch, Writer
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import NotFound
from tenancy.scope import TenantScope
from tenancy.values import AccountID, SignalID, StrategyID

FIRST_CHUNK = 32
CHUNK = 256
"""Accounts in a transaction. The first is small: what is first on the wire need not wait for the rest."""

_PLAN = """
SELECT p.plan::text, s.traceparent FROM plans p JOIN signals s USING (signal_id)
WHERE p.signal_id = %s"""
_STRIKE = "DELETE FROM plan_parts WHERE signal_id = %s AND part = ANY(%s) AND NOT approved"


class Begun(NamedTuple):
    """How far a plan's own transaction came: so many chunks, of which the last is the last of all or not."""

    chunks: int
    done: frozenset[int]
    """The partitions of which every intent is written: they need not be listed."""


NOTHING = Begun(0, frozenset())


class Intender:
    """Writes the intents of plans."""

    def __init__(
        self, database: Database, leases: Leases, writer: Writer, clock: Clock, heard: Heard
    ) -> None:
        """`heard`: the wake-ups by which this worker knows of others' plans."""
        self._database = database
        self._leases = leases
        self._writer = writer
        self._clock = clock
        self._heard = heard
        self._busy: set[SignalID] = set()

    async def begin(
        self, conn: Connection, after: AsyncExitStack, scope: TenantScope,
        plans: Sequence[tuple[Plan, str, dict[int, int]]],
    ) -> list[Begun]:  # fmt: skip
        """Of each plan write the first chunk of these partitions, in the caller's transaction.

        With each its trace, and the leases (part: epoch) that the caller holds in it. The caller ends
        `after` when it is committed: then the orders go to their lanes. NOTHING of a plan for which a
        key would have to be asked for first.
        """
        begun, batches = [], []
        for plan, traceparent, epochs in plans:
            ((entries, last),) = islice(_chunks(plan.acting(epochs)), 1)
            accounts = [entry.account_id for entry in entries]
            if not accounts or not await self._writer.ready(conn, scope, accounts):
                begun.append(NOTHING)
                continue
            after.enter_context(under(traceparent, "intend", _said(plan, entries, epochs)))
            batches.append(self._batch(scope, plan, current(traceparent), entries, epochs))
            begun.append(Begun(1, frozenset(epochs) if last else frozenset()))
        for batch in _joined(batches):
            claimed = await after.enter_async_context(self._writer.claimed(scope, batch))
            await claimed.write(conn, batch)
        return begun

    async def intend(
        self, scope: TenantScope, signal: SignalID, parts: Sequence[int], plan: Plan | None = None,
        traceparent: str = "", begun: Begun = NOTHING,
    ) -> None:  # fmt: skip
        """Do these parts of the signal's plan. Raises LeaseLost, Unavailable, OutcomeUnknown.

        One at a time for each signal: planner and sweep may both come. Who comes second leaves;
        what is then still listed, the next sweep does.
        """
        if signal in self._busy:
            return
        self._busy.add(signal)
        try:
            epochs = {part: self._leases.epoch(part) for part in sorted(parts)}
            if plan is None:
                plan, traceparent, begun = await self._read_and_begin(scope, signal, epochs)
            if begun.done:
                return
            for chunk, last in islice(_chunks(plan.acting(epochs)), begun.chunks, None):
                await self._write(scope, plan, traceparent, chunk, epochs, last=last)
        finally:
            self._busy.discard(signal)

    async def _read_and_begin(
        self, scope: TenantScope, signal: SignalID, epochs: dict[int, int]
    ) -> tuple[Plan, str, Begun]:
        """The plan that another worker made, with its trace, and how far the same transaction came."""
        async with AsyncExitStack() as after, self._database.tenant(scope) as conn:
            async with conn.pipeline():  # one round trip
                asked = await conn.execute(_PLAN, (signal,))
                fenced = await self._leases.ask_fence(conn, epochs)
            row = await asked.fetchone()
            if row is None:
                raise NotFound(f"no plan of signal {signal}")
            await fenced()
            plan = msgspec.json.decode(row[0], type=Plan)
            traceparent = self._heard.parent("plan", signal, row[1])
            (begun,) = await self.begin(conn, after, scope, [(plan, traceparent, epochs)])
            if begun.done:
                await conn.execute(_STRIKE, (plan.signal_id, list(epochs)))
        return plan, traceparent, begun

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
        with under(traceparent, "intend", _said(plan, entries, epochs)):
            batch = self._batch(scope, plan, current(traceparent), entries, epochs)

            async def fence(conn: Connection) -> Batch:
                await self._leases.fence(conn, epochs)
                if last:
                    await conn.execute(_STRIKE, (plan.signal_id, list(epochs)))
                return batch

            await self._writer.write(scope, batch, fence)

    def _batch(
        self, scope: TenantScope, plan: Plan, traceparent: str, entries: Sequence[PlanEntry],
        epochs: dict[int, int],
    ) -> Batch:  # fmt: skip
        # Never before the plan, whatever another host's clock says: a minute's orders are counted by it.
        now = max(self._clock.now(), plan.planned_at)
        return Batch(
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


def _joined(batches: Sequence[Batch]) -> list[Batch]:
    """Those that only bring orders as one; a wish to cancel is of one strategy's orders."""
    wishing = [batch for batch in batches if batch.wishes]
    plain = [batch for batch in batches if not batch.wishes]
    if not plain:
        return wishing
    one = msgspec.structs.replace(
        plain[0],
        epochs={part: epoch for batch in plain for part, epoch in batch.epochs.items()},
        orders=[order for batch in plain for order in batch.orders],
    )
    return [*wishing, one]


def _said(plan: Plan, entries: Sequence[PlanEntry], epochs: dict[int, int]) -> dict[str, object]:
    return {"signal_id": plan.signal_id, "accounts": len(entries), "parts": len(epochs)}


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


def _chunks(entries: list[PlanEntry]) -> Iterator[tuple[list[PlanEntry], bool]]:
    """The entries in chunks, and whether each is the last; one empty chunk where there are none."""
    start, size = 0, FIRST_CHUNK
    while True:
        chunk = entries[start : start + size]
        start, size = start + size, CHUNK
        yield chunk, start >= len(entries)
        if start >= len(entries):
            return
