"""Paper's memory is the positions table, and one tenant's alone."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fanout.remembered import RememberedPositions
from tenancy.database import Database
from tenancy.ids import new_id
from tenancy.scope import Actor, TenantScope
from tenancy.store.accounts import create_account
from tenancy.store.tenants import create_tenant
from tenancy.values import TenantID
from tests.fakes.orders import an_account
from tests.fixtures import postgres as fixture

_PUT = """INSERT INTO positions (account_id, strategy_id, symbol, tenant_id, qty, avg_px, updated_at)
          VALUES (%s, %s, %s, %s, %s, 50000, now())"""


@pytest.mark.stack
async def test_an_account_holds_the_sum_over_its_strategies(database: fixture.Database) -> None:
    admin = Database(database.conninfo("admin"), name="test-admin", size=2)
    worker = Database(database.conninfo("worker"), name="test-worker", size=2)
    await admin.open()
    await worker.open()
    try:
        scope: TenantScope = await create_tenant(admin, "Acme", Actor(kind="human", id="test"))
        async with admin.tenant(scope) as conn:
            account_id = await create_account(
                conn, scope, "one", broker="paper", currency="USDT", stated_equity=Decimal(1)
            )
        async with worker.tenant(scope) as conn:
            for symbol, qty in (("A", 5), ("A", -2), ("B", 4), ("B", 0), ("C", 1), ("C", -1)):
                row = (account_id, new_id(), symbol, scope.tenant_id, qty)
                await conn.execute(_PUT, row)
        remembered = RememberedPositions(worker)
        account = an_account(account_id=account_id, tenant_id=scope.tenant_id)
        held = [(row.symbol, row.qty, row.avg_px) for row in await remembered(account)]
        assert held == [("A", 3, None), ("B", 4, 50_000)]
        stranger = an_account(account_id=account_id, tenant_id=TenantID(new_id()))
        assert list(await remembered(stranger)) == []
    finally:
        await admin.close()
        await worker.close()
