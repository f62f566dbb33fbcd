"""Each day, each account: are our fills the ones that its broker states?

For the accounts of this worker's partitions, once a day is over by `SETTLED_AFTER`:

1. Ask the broker for its own record of the account's fills (`Statement.fills`), and read ours.
2. Compare (fanout/fill_check.py, pure).
3. In one transaction: the row of `statement_checks` (unique on account and day) and the audit record
   `fills.reconciled`, `agreed` or `differ` with every difference by name; a notification follows from
   the record. *Crash before: it is asked again. Two workers at once: the second writes nothing.*

A broker that does not answer leaves the day unchecked, which a metric counts; it is asked again each
round for `DAYS` days. Nothing is put right here: a difference is a person's matter, for whichever side is
wrong, guessing at money would make it worse. Brokers without a statement of their own
(`Caps.statement`) are not asked, and there is no row that says that they agreed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date, timedelta
from typing import cast

import structlog

from audit.inbox import Entry, append
from audit.record import Kind
from fanout import metrics
from fanout.abilities import Statement
from fanout.accounts import Accounts
from fanout.fill_check import Difference, OwnFill, asked, differences, facts
from fanout.leases import Leases
from fanout.ports import Broker, BrokerAccount
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import PortcullisError
from tenancy.pause import pause
from tenancy.scope import Actor, TenantScope
from tenancy.values import AccountID, TenantID

log = structlog.get_logger()

FIRST_S, EVERY_S = 60.0, 300.0
SETTLED_AFTER = timedelta(minutes=45)
DAYS = 3
RECONCILER = Actor(kind="algo", id="reconciler")

_FIND = "SELECT account_id, tenant_id, broker FROM find_unchecked_statements(%s::smallint[], %s::text[], %s)"
_OURS = """
SELECT o.cl_ord_id, o.symbol, o.side, r.last_qty, r.last_px, r.at
FROM execution_reports r JOIN orders o USING (cl_ord_id)
WHERE r.tenant_id = %s AND r.account_id = %s AND r.at >= %s AND r.at < %s AND r.exec_type = 'trade'"""
"""As the index fills_of_account wants it: else each account's day reads every fill that there is."""
_CHECKED = """
INSERT INTO statement_checks (account_id, day, tenant_id, checked_at, differences)
VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING day"""


class Statements:
    """This worker's share of the daily look."""

    def __init__(
        self, database: Database, brokers: Mapping[str, Broker], accounts: Accounts, leases: Leases,
        clock: Clock,
    ) -> None:  # fmt: skip
        self._database = database
        self._brokers = {name: b for name, b in brokers.items() if b.caps.statement}
        self._accounts = accounts
        self._leases = leases
        self._clock = clock

    async def run(self, stop: asyncio.Event, *, every_s: float = EVERY_S) -> None:
        """Until told to stop. An account's error is its own. What a start brings with it comes first."""
        await pause(stop, FIRST_S)
        while not stop.is_set():
            parts = self._leases.parts()
            try:
                await self.look(parts)
            except PortcullisError as error:
                log.warning("statements_wait", error=str(error))
            except Exception:
                log.exception("statements_failed")
            await pause(stop, every_s if parts else FIRST_S)

    async def look(self, parts: list[int]) -> None:
        """Every day that is due and every account of these partitions, one after the other. Raises Unavailable."""
        if not parts or not self._brokers:
            return
        last = (self._clock.now() - SETTLED_AFTER).date() - timedelta(days=1)
        unchecked = 0
        for back in range(DAYS):
            day = last - timedelta(days=back)
            async with self._database.connection() as conn:
                found = await conn.execute(_FIND, (parts, sorted(self._brokers), day))
                rows = await found.fetchall()
            for account, tenant, broker in rows:
                scope = TenantScope(tenant_id=TenantID(tenant), actor=RECONCILER)
                unchecked += not await self._check(scope, AccountID(account), broker, day)
        metrics.STATEMENTS_UNCHECKED.set(unchecked)

    async def _check(self, scope: TenantScope, account: AccountID, broker: str, day: date) -> bool:
        """Whether there is nothing left to look at."""
        try:
            known = (await self._accounts.get(scope, [account])).get(account)
            if known is None or known.credential is None:
                return True  # nothing that could be asked with, and nothing that could trade
            await self.check(scope, known, broker, day)
        except PortcullisError as error:
            log.warning("statement_unknown", account=str(account), day=str(day), error=str(error))
            return False
        return True

    async def check(
        self, scope: TenantScope, account: BrokerAccount, broker: str, day: date
    ) -> list[Difference]:
        """Steps 1 to 3; what was found. Raises Unavailable, OutcomeUnknown."""
        since, until = asked(day)
        teller = cast(Statement, self._brokers[broker])
        theirs = await teller.fills(account, since=since, until=until)
        async with self._database.tenant(scope) as conn:
            cursor = await conn.execute(_OURS, (scope.tenant_id, account.account_id, since, until))
            ours = [OwnFill(*row) for row in await cursor.fetchall()]
            found = differences(day, ours, theirs)
            said = facts(day, broker, len(ours), len(theirs), found)
            await self._keep(conn, scope, account.account_id, day, said)
        metrics.STATEMENTS.labels(str(said["event"])).inc()
        if said["event"] == "differ":
            log.error(
                "fills_differ", account=str(account.account_id), day=str(day), found=len(found)
            )
        return found

    async def _keep(
        self, conn: Connection, scope: TenantScope, account: AccountID, day: date,
        said: dict[str, object],
    ) -> None:  # fmt: skip
        now = self._clock.now()
        values = (account, day, scope.tenant_id, now, said["differences"])
        if await (await conn.execute(_CHECKED, values)).fetchone() is None:
            return
        entry = Entry(
            kind=Kind.FILLS_RECONCILED, ts_ns=self._clock.now_ns(), payload=dict(said),
            actor=RECONCILER, acct=str(account),
        )  # fmt: skip
        await append(conn, [(scope.tenant_id, entry)])
