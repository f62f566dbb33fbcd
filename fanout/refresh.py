"""Keep fresh what plans read of the brokers: instruments with prices, and accounts' equity.

A broker that does not answer leaves the last picture standing for `stale_s`; after that its
instruments are dropped, so that plans refuse (`not_connected`) instead of sizing by old prices.
Equity in `balances` carries its time; the console shows how old it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import psycopg
import structlog

from fanout import metrics
from fanout.accounts import Accounts
from fanout.leases import Leases
from fanout.market import Instruments
from fanout.pictures import PictureWriter
from fanout.ports import Broker, BrokerAccount, Caps, Equity, Instrument
from tenancy.clock import Clock
from tenancy.database import Database
from tenancy.errors import PortcullisError, Unavailable
from tenancy.pause import pause
from tenancy.scope import Actor, TenantScope
from tenancy.values import AccountID

log = structlog.get_logger()

AT_ONCE = 8
A_TRANSACTION = 256
_KEEP = """
INSERT INTO balances (account_id, tenant_id, equity, available, unrealised, currency, as_of)
SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::numeric[], %b::numeric[], %b::numeric[], %b::text[],
                     %b::timestamptz[])
ON CONFLICT (account_id) DO UPDATE SET equity = excluded.equity, available = excluded.available,
    unrealised = excluded.unrealised, currency = excluded.currency, as_of = excluded.as_of"""


class Instrumented:
    """Every broker's instruments, while they are fresh enough to trade by."""

    def __init__(
        self,
        brokers: Mapping[str, Broker],
        clock: Clock,
        *,
        stale_s: float,
        pictures: PictureWriter | None = None,
    ) -> None:
        """`pictures`: where they are put for processes that have no broker."""
        self._brokers = brokers
        self._pictures = pictures
        self._clock = clock
        self._stale_s = stale_s
        self._kept: dict[str, tuple[float, Instruments]] = {}

    def by_broker(self) -> dict[str, Instruments]:
        oldest = self._clock.monotonic() - self._stale_s
        return {name: known for name, (at, known) in self._kept.items() if at >= oldest}

    def keyed(self) -> frozenset[str]:
        """Brokers whose accounts trade with an enrolled key only."""
        return frozenset(name for name, broker in self._brokers.items() if broker.caps.credential)

    def caps(self) -> dict[str, Caps]:
        """What each broker can do."""
        return {name: broker.caps for name, broker in self._brokers.items()}

    def missing(self) -> list[str]:
        """Brokers whose instruments are not known, or too old."""
        return sorted(set(self._brokers) - set(self.by_broker()))

    async def refresh(self) -> None:
        """Ask every broker once."""
        await asyncio.gather(*(self._one(name) for name in self._brokers))

    async def _one(self, name: str) -> None:
        started = self._clock.monotonic()
        try:
            instruments = await self._brokers[name].instruments()
        except Unavailable as error:
            metrics.BROKER_UP.labels(name).set(0)
            log.warning("instruments_not_refreshed", broker=name, error=str(error))
            return
        metrics.BROKER_UP.labels(name).set(1)
        self._kept[name] = (started, Instruments(instruments.values()))
        if self._pictures is not None:
            await self._put(self._pictures, name, instruments, started)

    async def _put(
        self,
        pictures: PictureWriter,
        name: str,
        instruments: Mapping[str, Instrument],
        started: float,
    ) -> None:
        """Not kept: the picture that is there grows older, and previews say how old it is."""
        age_s = self._clock.monotonic() - started
        try:
            await pictures.put(name, instruments, self._brokers[name].caps, age_s=age_s)
        except (PortcullisError, psycopg.Error) as error:
            log.warning("picture_not_kept", broker=name, error=str(error))

    async def run(self, stop: asyncio.Event, *, every_s: float) -> None:
        while not stop.is_set():
            await self.refresh()
            wait = every_s if not self.missing() else min(every_s, 0.5)
            await pause(stop, wait)


class Balances:
    """The equity of this worker's accounts."""

    def __init__(
        self, database: Database, brokers: Mapping[str, Broker], accounts: Accounts, leases: Leases
    ) -> None:
        self._database = database
        self._brokers = brokers
        self._accounts = accounts
        self._leases = leases

    async def run(self, stop: asyncio.Event, *, every_s: float) -> None:
        while not stop.is_set():
            parts = self._leases.parts()
            try:
                await self.refresh(parts)
            except PortcullisError as error:
                log.warning("balances_not_refreshed", error=str(error))
            # The first round waits for the first lease, not for a whole period.
            await pause(stop, every_s if parts else 0.1)

    async def refresh(self, parts: list[int]) -> None:
        """Ask once for each account of these partitions. Raises Unavailable."""
        if not parts:
            return
        async with self._database.connection() as conn:
            rows = await (
                await conn.execute(
                    "SELECT account_id, tenant_id, broker FROM find_accounts(%s::smallint[])",
                    (parts,),
                )
            ).fetchall()
        gate = asyncio.Semaphore(AT_ONCE)
        by_tenant: dict[TenantScope, list[tuple[str, AccountID]]] = {}
        for account, tenant, broker in rows:
            scope = TenantScope(tenant_id=tenant, actor=Actor(kind="algo", id="refresher"))
            if broker in self._brokers:
                by_tenant.setdefault(scope, []).append((broker, account))
        for scope, wanted in by_tenant.items():
            known = await self._accounts.get(scope, [account for _, account in wanted])
            named = [(self._brokers[b], known[a]) for b, a in wanted if a in known]
            present = [one for one in named if not one[0].caps.lacks_key(one[1])]
            for start in range(0, len(present), A_TRANSACTION):
                some = present[start : start + A_TRANSACTION]
                await self._keep(
                    scope, await asyncio.gather(*(self._ask(*one, gate) for one in some))
                )

    async def _ask(
        self, broker: Broker, account: BrokerAccount, gate: asyncio.Semaphore
    ) -> tuple[BrokerAccount, Equity] | None:
        """None where the broker does not answer, or has no such thing."""
        async with gate:
            try:
                equity = await broker.equity(account)
            except Unavailable as error:
                log.warning("equity_unknown", account=str(account.account_id), error=str(error))
                return None
        return None if equity is None else (account, equity)

    async def _keep(
        self, scope: TenantScope, answers: Sequence[tuple[BrokerAccount, Equity] | None]
    ) -> None:
        """In one statement, sorted: two workers that change places cannot wait for each other."""
        rows = sorted(
            (a.account_id, a.tenant_id, e.equity, e.available, e.unrealised, e.currency, e.as_of)
            for a, e in (answer for answer in answers if answer is not None)
        )
        if rows:
            async with self._database.tenant(scope) as conn:
                await conn.execute(_KEEP, [list(column) for column in zip(*rows, strict=True)])
