"""Accounts are kept for a second, but never one whose key may just have come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fanout.accounts import Accounts
from tenancy.clock import SystemClock
from tenancy.database import Connection, Database
from tenancy.scope import TenantScope
from tenancy.store.accounts import put_credential
from tests.fixtures.proving import prove_all


async def test_a_key_is_used_by_the_next_order_once_it_is_proven_and_not_before(bench):
    await bench.set_up(1)
    (account,) = bench.accounts
    admin, worker = await bench.open("admin"), await bench.open("worker")
    accounts = Accounts(worker, SystemClock())
    before = (await accounts.get(bench.scope, [account]))[account]
    async with admin.tenant(bench.scope) as conn:
        await put_credential(
            conn, bench.scope, account, broker="gateio", api_key="k", sealed=b"row"
        )
    meanwhile = (await accounts.get(bench.scope, [account]))[account]
    await prove_all(bench.made)
    after = (await accounts.get(bench.scope, [account]))[account]
    seen = (before.credential, meanwhile.credential, after.credential)
    assert seen == (None, None, b"row")
    await admin.close()
    await worker.close()


async def test_who_asks_has_every_account_though_one_is_proven_meanwhile(bench):
    """Found on a slow machine: the orders of the account that was left out were written, and nobody's."""
    await bench.set_up(2)
    kept, other = bench.accounts
    admin, worker = await bench.open("admin"), await bench.open("worker")
    async with admin.tenant(bench.scope) as conn:
        await put_credential(conn, bench.scope, kept, broker="gateio", api_key="k", sealed=b"row")
    await prove_all(bench.made)
    database = Meanwhile(worker)
    accounts = Accounts(database, SystemClock())  # type: ignore[arg-type]
    await accounts.get(bench.scope, [kept])

    async def renewed() -> None:
        database.act = nothing
        await accounts.renew(bench.scope, kept)

    database.act = renewed
    found = await accounts.get(bench.scope, [kept, other])
    await admin.close()
    await worker.close()
    assert set(found) == {kept, other}


async def nothing() -> None: ...


class Meanwhile:
    """A database beside which something happens during each read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.act: Callable[[], Awaitable[None]] = nothing

    @asynccontextmanager
    async def tenant(self, scope: TenantScope) -> AsyncIterator[Connection]:
        async with self._database.tenant(scope) as conn:
            yield conn
            await self.act()
