"""Accounts as brokers' adapters need them, read once and kept for a short while.

A credential that was replaced is used from the next look on, at most `KEEP_S` later; a revoked
one is refused by the broker, and by the signer once its policy says so.
"""

from __future__ import annotations

from collections.abc import Iterable

from fanout.ports import BrokerAccount
from tenancy.account import Account
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.scope import TenantScope
from tenancy.store.snapshots import read_accounts
from tenancy.values import AccountID

KEEP_S = 1.0
LONG_AGO = float("-inf")


class Accounts:
    """BrokerAccounts by id, fresh to within a second."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._kept: dict[AccountID, tuple[float, BrokerAccount]] = {}

    def keep(self, accounts: Iterable[Account]) -> None:
        """Remember accounts that were just read with a snapshot."""
        now = self._clock.monotonic()
        for account in accounts:
            self._kept[account.account_id] = (now, as_broker_account(account))

    async def renew(self, scope: TenantScope, account: AccountID) -> None:
        """Its credential is another one now. Raises Unavailable: then who asks next reads it.

        It is not taken away: who is asking now has counted on it, and `remembered` is for the time
        when nothing can be read.
        """
        if (kept := self.remembered(account)) is not None:
            self._kept[account] = (LONG_AGO, kept)
        await self.get(scope, [account])

    def remembered(self, account: AccountID) -> BrokerAccount | None:
        """As it was last read, however long ago: for who acts while PostgreSQL is away."""
        kept = self._kept.get(account)
        return None if kept is None else kept[1]

    def current(self, account: BrokerAccount) -> BrokerAccount:
        """As it was last read: for who began with `account`, and may go on for hours.

        Its credential may have been replaced since, and the old one ended at the broker, or its key
        in the HSM.
        """
        return self.remembered(account.account_id) or account

    async def get(
        self, scope: TenantScope, ids: Iterable[AccountID]
    ) -> dict[AccountID, BrokerAccount]:
        """Those of this tenant among `ids`. Raises Unavailable."""
        wanted = set(ids)
        if self._stale(wanted):
            async with self._database.tenant(scope) as conn:
                await self.read(conn, wanted)
        kept = {i: self._kept[i][1] for i in wanted if i in self._kept}
        return {i: account for i, account in kept.items() if account.tenant_id == scope.tenant_id}

    async def read(self, conn: Connection, ids: Iterable[AccountID]) -> None:
        """Read those that are not fresh, in the caller's transaction: who asks next asks nobody."""
        if stale := self._stale(ids):
            self.keep(await read_accounts(conn, stale))

    def _stale(self, ids: Iterable[AccountID]) -> list[AccountID]:
        oldest = self._clock.monotonic() - KEEP_S
        return [account for account in ids if not self._fresh(account, oldest)]

    def _fresh(self, account: AccountID, oldest: float) -> bool:
        """One without a credential is always read again: its key may have come since."""
        at, kept = self._kept.get(account, (LONG_AGO, None))
        return at >= oldest and kept is not None and kept.credential is not None


def as_broker_account(account: Account) -> BrokerAccount:
    return BrokerAccount(
        account_id=account.account_id,
        tenant_id=account.tenant_id,
        currency=account.currency,
        stated_equity=account.stated_equity,
        leverage=account.leverage,
        settings=account.settings,
        api_key=account.api_key,
        credential=account.sealed,
    )
