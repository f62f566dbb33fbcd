"""One transaction of intents: claimed before it, written in it, handed to the lanes after it.

Every way to an intent is this one: a plan's chunks (fanout/intend.py), the first of them in the plan's own
transaction (fanout/intake.py), what people said yes to (fanout/intend_approved.py), what the stop engine
lets go (fanout/stops.py).

1. `claimed` has at hand what the transaction must not wait for (accounts, the keys of their records), and
   makes the attempts' names known: a sweep that runs meanwhile must not adopt what is not durable yet.
2. `Claimed.write`, in the caller's transaction: the order rows, the wishes to cancel, the audit records.
3. When the block ends without an error, which is after the caller's commit, the orders go to their lanes,
   behind whatever of their accounts may have been sent and is not known.

An error in between takes the claim back; what was written after all is an intent that no lane knows, and
the sweep adopts it as doubt. A crash is the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal

import msgspec

from audit import ring, sealing
from fanout import book
from fanout.accounts import Accounts
from fanout.lanes import Job, Lane, Lanes
from fanout.order import Order, OrdState
from fanout.ports import BrokerAccount
from fanout.stops_venues import NO_VENUES, Venues
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import NotFound
from tenancy.scope import TenantScope
from tenancy.values import AccountID, StrategyID


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


class Claimed:
    """What one transaction of intents writes: made by Writer.claimed, for the length of its block."""

    def __init__(self, writer: Writer, scope: TenantScope, batch: Batch) -> None:
        self._writer = writer
        self._scope = scope
        self._batch = batch
        self.goes: Batch | None = None
        self.written: set[str] = set()
        self.before: list[Order] = []
        self.cancels: list[Order] = []

    @property
    def names(self) -> set[str]:
        """The attempts that may be written."""
        return {order.cl_ord_id for order in (*self._batch.orders, *self._batch.released)}

    async def write(self, conn: Connection, goes: Batch) -> None:
        """`goes`: which part of the batch. Once, in the caller's transaction."""
        self.goes = goes = self._writer.held_if_needed(goes)
        scope, names = self._scope, self.names
        async with conn.pipeline():  # one round trip
            unsettled = await book.ask_unsettled(conn, goes.lanes, list(goes.epochs), names)
            inserted = await book.ask_insert(conn, goes.orders)
        self.before = await self._writer.loose(conn, goes, names, await unsettled())
        self.written = await inserted()
        await book.record_intents(conn, scope, goes.orders, self.written)
        self.cancels = await book.want_cancelled(
            conn,
            scope,
            goes.wishes,
            names,
            strategy=goes.strategy_id,
            at=goes.at,
            protection=goes.bare,
        )


class Writer:
    """Writes intents and hands them to the lanes."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        lanes: Lanes,
        clock: Clock,
        venues: Venues = NO_VENUES,
        watch: Callable[[TenantScope, Iterable[str]], None] = lambda scope, names: None,
    ) -> None:
        """`watch` is told of every order that is held: the gateway's stop engine has it from then on."""
        self._database = database
        self._accounts = accounts
        self._lanes = lanes
        self._clock = clock
        self._venues = venues
        self._watch = watch

    async def write(
        self, scope: TenantScope, batch: Batch, decide: Callable[[Connection], Awaitable[Batch]]
    ) -> None:
        """One transaction of intents, and their orders to the lanes after it.

        `decide` is its beginning: it holds the leases, and says which part of `batch` goes.
        Raises NotFound, AuditUnavailable, Unavailable, OutcomeUnknown, and what `decide` raises.
        """
        async with self.claimed(scope, batch) as claimed, self._database.tenant(scope) as conn:
            await claimed.write(conn, await decide(conn))

    async def ready(
        self, conn: Connection, scope: TenantScope, accounts: Iterable[AccountID]
    ) -> bool:
        """Whether `claimed` may be entered within the caller's transaction, for it has nobody to ask then.

        Accounts are read here, by the caller's connection; a key of theirs that is not at hand is not,
        for it may have to be made, in a transaction of its own.
        """
        wanted = set(accounts)
        if not ring.current().at_hand(scope.tenant_id, map(sealing.account, wanted)):
            return False
        await self._accounts.read(conn, wanted)
        return True

    @asynccontextmanager
    async def claimed(self, scope: TenantScope, batch: Batch) -> AsyncIterator[Claimed]:
        """Around one transaction, which writes by `Claimed.write`.

        Raises NotFound, AuditUnavailable, Unavailable.
        """
        wanted = {account for account, _ in batch.lanes}
        accounts = await self._accounts.get(scope, wanted)
        if absent := wanted - accounts.keys():
            # Now, and not after the commit, when its orders would be in nobody's hand.
            raise NotFound(f"no account {min(absent)} in this tenant")
        # The keys of their records, before the transaction holds anybody up.
        await ring.current().prepare(scope.tenant_id, map(sealing.account, wanted))
        claimed = Claimed(self, scope, batch)
        # What was known already is in a lane since an earlier, unfinished round, and stays known.
        new = claimed.names - self._lanes.known
        self._lanes.known |= new
        try:
            yield claimed
        except BaseException:
            self._lanes.known -= new  # if they were written after all, the sweep adopts them
            raise
        self._hand_on(scope, accounts, batch.epochs, claimed, new)

    def _hand_on(
        self,
        scope: TenantScope,
        accounts: Mapping[AccountID, BrokerAccount],
        epochs: Mapping[int, int],
        claimed: Claimed,
        new: set[str],
    ) -> None:
        """After the commit."""
        goes, written = claimed.goes, claimed.written
        if goes is None:
            self._lanes.known -= new
            return
        goes_out = written | {order.cl_ord_id for order in goes.released}
        later = {order.cl_ord_id for order in goes.orders if order.state is not OrdState.INTENT}
        self._lanes.known -= (new - goes_out) | (new & later)
        held = {o.cl_ord_id for o in goes.orders if o.state is OrdState.HELD} & written
        if held:
            self._watch(scope, held)
        for order in claimed.before:
            if order.cl_ord_id not in self._lanes.known:
                adopted = _job("resolve", scope, accounts, order, epochs)
                sent_by = self._clock.now()
                self._lanes.put(msgspec.structs.replace(adopted, sent_by=sent_by))
        for order in claimed.cancels:
            self._lanes.put(_job("cancel", scope, accounts, order, epochs))
        for order in (*goes.orders, *goes.released):
            if order.cl_ord_id in goes_out and order.state is OrdState.INTENT:
                self._lanes.put(_job("send", scope, accounts, order, epochs))

    async def loose(
        self, conn: Connection, batch: Batch, names: set[str], found: Iterable[Order]
    ) -> list[Order]:
        """Of what was found unsettled in the batch's lanes, what is in nobody's hand.

        A lane forgets a name after the commit that settles it. Such a one is in the first answer if
        the commit came after that was read, and known no more when it is heard: so it is read again.
        """
        parts, known = list(batch.epochs), self._lanes.known
        loose = {order.cl_ord_id for order in found} - known
        if not loose:
            return []
        again = await (await book.ask_unsettled(conn, batch.lanes, parts, names))()
        return [o for o in again if o.cl_ord_id in loose and o.cl_ord_id not in known]

    def held_if_needed(self, batch: Batch) -> Batch:
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
