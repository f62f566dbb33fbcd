"""From a person's yes to intents: exactly the entries that were approved, each once.

1. Read what of the signal is approved in our partitions and not carried out, in fan-out order.
2. In one transaction: our turn on the strategy and on those that share these accounts; nothing else
   of theirs on its way to the book; the leases held (fenced); the rows locked and looked at once
   more, for a halt, a change of terms or of the position, or a limit that others have used up, makes
   a yes void; the orders, `carried_at` and the records; and when no row is left, the part struck off
   `plan_parts`.
3. After the commit the orders go to their lanes, as all do (fanout/writing.py).

Crash before 2: the part is still listed, its next owner does it. After 2: intents that no lane
knows, which the sweep adopts as doubt. No second time: a row that was carried is not read again,
and the orders' names are derived, so even then nobody could write them twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from fanout import approvals
from fanout.approvals import Approval
from fanout.calendars import Calendars, NotLoaded
from fanout.intend import order_of, wishes_of
from fanout.leases import Leases
from fanout.market import AccountNow
from fanout.reasons import Reason
from fanout.refresh import Instrumented
from fanout.still_within import over_limit
from fanout.trace import under
from fanout.turn import former_neighbours_under_way, turn
from fanout.usage import Lots, read_usage
from fanout.windows import Windows
from fanout.writing import Batch, Writer
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.scope import TenantScope
from tenancy.snapshot import Snapshot, Subscribed
from tenancy.store.snapshots import read_neighbours, read_snapshot
from tenancy.values import SignalID, StrategyID, TenantID

CHUNK = 256
"""Accounts in a transaction."""

_BUSY = """
SELECT EXISTS (SELECT FROM plan_parts WHERE strategy_id = ANY(%b::uuid[])
               AND part = ANY(%b::smallint[]) AND NOT approved)"""
_STRIKE = """
DELETE FROM plan_parts p WHERE p.signal_id = %b AND p.part = ANY(%b::smallint[]) AND p.approved
  AND NOT EXISTS (SELECT FROM signal_approvals a WHERE a.signal_id = p.signal_id AND a.part = p.part
                  AND a.state = 'approved' AND a.carried_at IS NULL)"""


class ApprovedIntender:
    """Carries out what people said yes to."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        writer: Writer,
        instruments: Instrumented,
        calendars: Calendars,
        clock: Clock,
    ) -> None:
        self._database = database
        self._leases = leases
        self._writer = writer
        self._instruments = instruments
        self._calendars = calendars
        self._clock = clock

    async def intend(self, scope: TenantScope, signal: SignalID, parts: Sequence[int]) -> None:
        """Do these parts. Raises LeaseLost, Unavailable, OutcomeUnknown.

        One at a time for each signal: the caller sees to that. While other orders of the strategy
        are on their way to the book it leaves, and the sweep comes again.
        """
        epochs = {part: self._leases.epoch(part) for part in sorted(parts)}
        while True:
            async with self._database.tenant(scope) as conn:
                waiting = await approvals.candidates(conn, signal, list(epochs), CHUNK)
                if not waiting:
                    await conn.execute(_STRIKE, (signal, list(epochs)))
                    return
            try:
                said = {"signal_id": signal, "accounts": len(waiting), "approved": True}
                with under(waiting[0].traceparent, "intend", said):
                    carried = await self._carry(scope, waiting, epochs)
                if not carried:
                    return
            except NotLoaded as missing:  # the transaction ended without a word written
                await self._calendars.load(missing.names, self._clock.now())

    async def _carry(
        self, scope: TenantScope, chosen: Sequence[Approval], epochs: dict[int, int]
    ) -> bool:
        """One transaction; False where it has to wait for other orders of the strategy."""
        signal, strategy = chosen[0].signal_id, chosen[0].strategy_id
        now = self._clock.now()
        batch = Batch(
            strategy_id=strategy,
            at=now,
            epochs=epochs,
            orders=[
                order_of(
                    signal, strategy, scope, approval.entry, leg,
                    deadline=approval.deadline, traceparent=approval.traceparent, now=now,
                    epoch=epochs[approval.part],
                )
                for approval in chosen
                for leg in approval.entry.legs
            ],
            wishes=wishes_of(approval.entry for approval in chosen),
        )  # fmt: skip
        free = True

        async def decide(conn: Connection) -> Batch:
            nonlocal free
            accounts = [approval.account_id for approval in chosen]
            beside = await read_neighbours(conn, strategy, accounts)
            await turn(conn, strategy, *beside)
            snapshot = await read_snapshot(conn, strategy, accounts)
            # Another may have come to share an account before it was our turn: then the sweep comes again.
            free = snapshot.neighbours <= beside
            free = free and not await self._busy(conn, scope.tenant_id, [strategy, *beside], chosen)
            if not free:
                return msgspec.structs.replace(batch, orders=[], wishes=set())
            await self._leases.fence(conn, epochs)
            calendars = self._calendars.known(snapshot.calendars, now)
            over_limit = await self._over_limit(conn, chosen, snapshot, now)
            goes = await approvals.carry(
                conn, scope, chosen, snapshot, now, Windows(now, calendars), over_limit
            )
            await conn.execute(_STRIKE, (signal, list(epochs)))
            return msgspec.structs.replace(
                batch,
                orders=[order for order in batch.orders if order.account_id in goes],
                wishes={wish for wish in batch.wishes if wish[0] in goes},
            )

        await self._writer.write(scope, batch, decide)
        return free

    async def _over_limit(
        self, conn: Connection, chosen: Sequence[Approval], snapshot: Snapshot, now: datetime
    ) -> Callable[[Approval, Subscribed, AccountNow], Reason | None]:
        """What was used is read now, before the books are: what moves in between counts twice."""
        instruments = self._instruments.by_broker()
        symbols = {each.account_id: each.entry.symbol or "" for each in chosen}
        usage = await read_usage(conn, snapshot, symbols, instruments, now)
        lots = Lots(instruments, snapshot.tenant.fx_rates)

        def over(approval: Approval, row: Subscribed, book: AccountNow) -> Reason | None:
            return over_limit(
                approval.entry, approval.strategy_id, row.limits, usage.get(approval.account_id),
                book.expected, lots.of(row.account),
            )  # fmt: skip

        return over

    async def _busy(
        self,
        conn: Connection,
        tenant: TenantID,
        strategies: list[StrategyID],
        chosen: Sequence[Approval],
    ) -> bool:
        """Whether a plan's orders for these partitions are not in the book yet.

        Not asked: whether others have a yes to carry out. They do so in a turn of their own, and two
        that waited for each other would wait for ever.
        """
        parts = sorted({approval.part for approval in chosen})
        row = await (await conn.execute(_BUSY, (strategies, parts))).fetchone()
        assert row is not None
        return bool(row[0]) or await former_neighbours_under_way(conn, tenant, parts)
