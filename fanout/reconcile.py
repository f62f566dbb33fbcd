"""Continuous reconciliation: each account's book against its broker's, by the worker that may trade it.

A round of some accounts of one tenant and broker:

1. Read our book of them all, in one statement each of positions, open orders and what was found before.
2. Ask the broker for each: open orders, then positions. No transaction is open meanwhile.
3. Read our book again, and compare (fanout/drift.py, pure).
4. In that second transaction: the rows of `reconciliations`; for an account that agrees for the first
   time under its lease `account.reconciled`; for a drift that is no more `drift.closed`. After the commit
   the gate opens (fanout/reconcile_gate.py). *Crash before it: the next owner of the partition compares.*
5. A difference is believed when a second look, `CONFIRM_S` later, finds the very same; it is then judged,
   named and kept with its record in one transaction (fanout/reconcile_judging.py).

When: right after a partition was taken over, before any signal asks; every `every_s` seconds from then on;
and when somebody says that something may have happened (`look`): an order that waits at the gate, a
gap in a broker's event stream, a decision that was carried out. Accounts that an order waits for come first.

A broker that does not answer leaves the account `unknown`: nothing opens that has not agreed under this
lease, and what has goes on. A broker whose book is our own process' memory is not asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
import structlog

from audit import ring, sealing
from audit.inbox import Entry, append
from fanout import drift_records as records
from fanout import metrics
from fanout import reconcile_rows as rows
from fanout.accounts import Accounts
from fanout.drift import Agreed, Difference, Differs, compare, still_aside
from fanout.drift_causes import CAUSES
from fanout.drift_decisions import DriftDecisions
from fanout.leases import LeaseLost, Leases
from fanout.order import Order
from fanout.ports import Broker, BrokerAccount
from fanout.reconcile_asking import Answer, ask, both
from fanout.reconcile_gate import ReconcileGate
from fanout.reconcile_judging import Judge
from fanout.reconcile_rows import Book, Round
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import PortcullisError
from tenancy.pause import pause
from tenancy.scope import TenantScope
from tenancy.values import AccountID, TenantID

log = structlog.get_logger()

AT_ONCE = 32
"""Questions to brokers under way."""
GROUPS_AT_ONCE = 3
A_GROUP = 64
ASK_S = 10.0
CONFIRM_S = 0.3
AGAIN_S = 0.1
LIST_S = 5.0
IDLE_S = 0.1
DECISIONS_S = 0.5
State = Literal["agreed", "differs", "unknown", "not_yet"]


class Watched(msgspec.Struct):
    """One account of ours. `agreed`: under which epoch it agrees; `suspect`: what the last look found."""

    scope: TenantScope
    account_id: AccountID
    broker: str
    part: int
    next_s: float  # monotonic
    first: bool = False
    state: State = "not_yet"
    seen_s: float = float("-inf")
    suspect: tuple[Difference, ...] = ()
    suspect_s: float = 0.0
    busy: bool = False


class _Found:
    """What one look at a group found, before it is written."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        self.rounds: list[Round] = []
        self.entries: list[Entry] = []
        self.gone: list[UUID] = []
        self.agreed: list[tuple[Watched, Book]] = []
        self.differ: list[tuple[Watched, Book]] = []


class Reconciler:
    """This worker's share of it."""

    def __init__(
        self,
        database: Database,
        brokers: Mapping[str, Broker],
        accounts: Accounts,
        leases: Leases,
        clock: Clock,
        decisions: DriftDecisions,
        *,
        every_s: float,
    ) -> None:
        self._database = database
        self._brokers = brokers
        self._accounts = accounts
        self._leases = leases
        self._clock = clock
        self._decisions = decisions
        self._decided_s = float("-inf")
        self._every_s = every_s
        self._watched: dict[AccountID, Watched] = {}
        self._listed: tuple[frozenset[tuple[int, int]], float] = (frozenset(), float("-inf"))
        self._asking = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._told = asyncio.Event()
        self.gate: ReconcileGate
        self.judge: Judge

    def begin(self, gate: ReconcileGate, judge: Judge) -> None:
        """Who is told of agreement, and who names what differs: both know somebody who needs us first."""
        self.gate, self.judge = gate, judge

    def __repr__(self) -> str:
        return f"Reconciler({len(self._watched)} accounts, {self.gate!r})"

    # ------------------------------------------------------------------ when

    def wanted(self, scope: TenantScope, order: Order) -> None:
        """An order waits at the gate: its account comes first."""
        self._put(scope, order.account_id, order.broker, order.part)
        self.look(order.account_id, first=True)

    def look(self, account: AccountID, *, first: bool = False) -> None:
        """Something may have happened: compare the account soon."""
        watched = self._watched.get(account)
        if watched is not None:
            watched.next_s = min(watched.next_s, self._clock.monotonic())
            watched.first |= first
            self._told.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop. An account's error is its own."""
        try:
            while not stop.is_set():
                self._told.clear()
                try:
                    await self._list()
                    await self._carry_out()
                except PortcullisError as error:
                    log.warning("reconciliation_waits", error=str(error))
                self._start_due()
                await pause(self._told, IDLE_S)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry_out(self) -> None:
        """What was decided of drifts meanwhile."""
        now = self._clock.monotonic()
        if now - self._decided_s >= DECISIONS_S:
            self._decided_s = now
            await self._decisions.carry_out()

    async def _list(self) -> None:
        """Which accounts are ours: asked when our leases changed, and now and then."""
        now = self._clock.monotonic()
        held = frozenset((part, self._leases.epoch(part)) for part in self._leases.parts())
        before, at = self._listed
        if held == before and now - at < LIST_S:
            return
        parts = sorted(part for part, _ in held)
        async with self._database.connection() as conn:
            query = (
                "SELECT account_id, tenant_id, broker, part FROM find_reconciled(%s::smallint[])"
            )
            found = await (await conn.execute(query, (parts,))).fetchall()
            counted = await conn.execute("SELECT * FROM count_drifts(%s::smallint[])", (parts,))
            metrics.drifts_open(dict(await counted.fetchall()), CAUSES)
        for account, tenant, broker, part in found:
            scope = TenantScope(tenant_id=TenantID(tenant), actor=records.RECONCILER)
            self._put(scope, AccountID(account), broker, part)
        ours = {row[0] for row in found}
        for account in [a for a, w in self._watched.items() if not self._leases.holds(w.part)]:
            del self._watched[account]
        if held != before:  # a lease is new: what agreed under another proves nothing
            for watched in self._watched.values():
                if watched.account_id in ours and not self._agreed(watched):
                    watched.state, watched.next_s = "not_yet", min(watched.next_s, now)
        self._listed = (held, now)
        self._measure(now)

    def _put(self, scope: TenantScope, account: AccountID, broker: str, part: int) -> None:
        known = self._brokers.get(broker)
        if account not in self._watched and known is not None and known.caps.remembers:
            now = self._clock.monotonic()
            self._watched[account] = Watched(scope, account, broker, part, next_s=now)

    def _agreed(self, watched: Watched) -> bool:
        try:
            epoch = self._leases.epoch(watched.part)
        except LeaseLost:
            return False
        return self.gate.agreed(watched.account_id, epoch)

    def _start_due(self) -> None:
        """Begin as many groups as may be under way, what orders wait for first and beside all others."""
        now = self._clock.monotonic()
        due = [
            one
            for one in self._watched.values()
            if one.next_s <= now and not one.busy and self._leases.holds(one.part)
        ]
        for first in (True, False):
            groups: dict[tuple[TenantID, str], list[Watched]] = {}
            for one in due:
                if one.first is first and not one.busy:
                    groups.setdefault((one.scope.tenant_id, one.broker), []).append(one)
            for group in groups.values():
                for start in range(0, len(group), A_GROUP):
                    if first or len(self._tasks) < GROUPS_AT_ONCE:
                        self._start(group[start : start + A_GROUP])

    def _start(self, group: list[Watched]) -> None:
        for one in group:
            one.busy, one.first = True, False
        task = asyncio.create_task(self._look(group))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._told.set()

    # ------------------------------------------------------------------ a round

    async def _look(self, group: list[Watched]) -> None:
        now = self._clock.monotonic()
        for one in group:
            one.next_s = now + self._every_s
        try:
            await self.round(group)
        except LeaseLost as error:
            log.info("reconciliation_left_to_the_next_owner", why=str(error))
        except PortcullisError as error:
            log.warning("reconciliation_waits", accounts=len(group), error=str(error))
            self._again(group, AGAIN_S)
        except Exception:
            log.exception("reconciliation_failed", accounts=len(group))
            self._again(group, 1.0)
        finally:
            for one in group:
                one.busy = False

    def _again(self, group: Iterable[Watched], after_s: float) -> None:
        at = self._clock.monotonic() + after_s
        for one in group:
            one.next_s = min(one.next_s, at)

    async def round(self, group: Sequence[Watched]) -> None:
        """Steps 1 to 5 for accounts of one tenant and one broker. Raises Unavailable, LeaseLost."""
        scope, broker = group[0].scope, self._brokers[group[0].broker]
        epochs = {one.account_id: self._leases.epoch(one.part) for one in group}
        known = await self._accounts.get(scope, epochs)
        asked = [one for one in group if one.account_id in known]
        ids, parts = [one.account_id for one in asked], sorted({one.part for one in asked})
        if not ids:
            return
        async with self._database.tenant(scope) as conn:
            before = await rows.read_books(conn, ids, parts)
        answers = await asyncio.gather(*(self._ask(broker, known[i]) for i in ids))
        await ring.current().prepare(scope.tenant_id, map(sealing.account, ids))
        async with self._database.tenant(scope) as conn:
            books = await rows.read_books(conn, ids, parts)
            found = _Found(self._clock.now())
            for one, theirs in zip(asked, answers, strict=True):
                account = one.account_id
                self._compare(one, before[account], books[account], theirs, epochs[account], found)
            await self._keep(conn, scope, broker, found)
        for one, _ in found.agreed:
            one.suspect, one.state, one.seen_s = (), "agreed", self._clock.monotonic()
            self.gate.agree(one.account_id, epochs[one.account_id])
        for one, book in found.differ:
            await self._judge(one, known[one.account_id], book, epochs[one.account_id])

    def _compare(
        self,
        one: Watched,
        before: Book,
        book: Book,
        answer: Answer | str,
        epoch: int,
        found: _Found,
    ) -> None:
        account, at = one.account_id, found.at
        kept = Round(
            account_id=account,
            state="agreed",
            at=at,
            epoch=epoch,
            baseline=book.baseline,
            agreed_at=at,
        )
        if isinstance(answer, str):
            self._unknown(one, answer)
            away = {"state": "unknown", "why": answer, "agreed_at": None, "away_at": at}
            found.rounds.append(msgspec.structs.replace(kept, **away))
            return
        sides = both(answer, before, book)
        aside = still_aside(book.aside, sides.after, sides.theirs)
        waiting = self.gate.waiting(account)
        said = compare(sides.before, sides.theirs, sides.after, aside, waiting)
        if isinstance(said, Agreed):
            found.agreed.append((one, book))
            found.gone += book.over(aside)
            found.rounds.append(msgspec.structs.replace(kept, baseline=sides.baseline))
            if not self.gate.agreed(account, epoch):
                entry = records.reconciled(account, one.broker, epoch, book.ours, at)
                found.entries.append(entry)
        elif isinstance(said, Differs):
            if self._confirmed(one, sides.named(said.found)):
                found.differ.append((one, book))
        else:
            self.gate.disagree(account, said.why)
            one.suspect = ()
            self._again([one], 1.0 if self._agreed(one) else AGAIN_S)

    async def _keep(
        self, conn: Connection, scope: TenantScope, broker: Broker, found: _Found
    ) -> None:
        """Step 4, in the caller's transaction."""
        await rows.keep(conn, scope.tenant_id, found.rounds)
        entries = [*found.entries, *await self.judge.close(conn, found.gone, found.at)]
        books = {one.account_id: (one.part, book) for one, book in found.agreed}
        entries += await self.judge.shortfalls(conn, scope, broker.name, books, found.at)
        await append(conn, [(scope.tenant_id, entry) for entry in entries])

    async def _ask(self, broker: Broker, account: BrokerAccount) -> Answer | str:
        """What the broker says, or why it says nothing."""
        if broker.caps.lacks_key(account):
            return "the account has no live credential"
        async with self._asking:
            try:
                async with asyncio.timeout(ASK_S):
                    return await ask(broker, account)
            except (PortcullisError, TimeoutError) as error:
                return str(error) or f"no answer within {ASK_S:g} s"

    def _unknown(self, one: Watched, why: str) -> None:
        self.gate.disagree(one.account_id, why)
        one.state, one.suspect = "unknown", ()
        self._again([one], 1.0 if not self._agreed(one) else self._every_s)

    def _confirmed(self, one: Watched, found: tuple[Difference, ...]) -> bool:
        """Whether an earlier look found the very same, long enough ago."""
        now = self._clock.monotonic()
        if one.suspect != found:
            one.suspect, one.suspect_s = found, now
        self.gate.disagree(one.account_id, "its book and the broker's differ")
        confirmed = now - one.suspect_s >= CONFIRM_S
        if not confirmed:
            self._again([one], CONFIRM_S)
        return confirmed

    async def _judge(self, one: Watched, account: BrokerAccount, book: Book, epoch: int) -> None:
        found, one.suspect = one.suspect, ()
        judged = await self.judge.judge(
            one.scope, one.broker, account, one.part, epoch, book, found
        )
        if not judged:
            self._again([one], AGAIN_S)
            return
        one.state, one.seen_s = "differs", self._clock.monotonic()
        self.gate.disagree(one.account_id, f"{len(found)} difference(s) that nobody has explained")
        if not self._agreed(one):
            self._again([one], min(self._every_s, 5.0))

    def _measure(self, now: float) -> None:
        states: dict[str, int] = dict.fromkeys(("agreed", "differs", "unknown", "not_yet"), 0)
        for one in self._watched.values():
            states[one.state] += 1
        metrics.reconciled(states)
        seen = [one.seen_s for one in self._watched.values() if one.state != "not_yet"]
        metrics.RECONCILED_AGE.set(max((now - min(seen)) if seen else 0.0, 0.0))
