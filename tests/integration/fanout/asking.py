"""Questions to people in tests: how a signal comes to be asked about, and how somebody answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fanout import approvals
from fanout.approvals import Decision
from tenancy.database import Database
from tenancy.scope import Actor, TenantScope
from tenancy.values import AccountID, SignalID

DONE = "SELECT count(*) FROM orders WHERE state = 'filled'"
ASKED = "SELECT count(*) FROM signal_approvals WHERE state = 'pending'"
STATES = "SELECT state, why FROM signal_approvals ORDER BY account_id"
LEFT = "SELECT count(*) FROM plan_parts"
PERSON = Actor(kind="human", id="ann")


async def answer(
    bench, admin: Database, signal: SignalID, account: AccountID, *, how=approvals.approve,
    at: datetime | None = None, comment: str = "",
) -> Decision:  # fmt: skip
    scope = TenantScope(tenant_id=bench.scope.tenant_id, actor=PERSON)
    async with admin.tenant(scope) as conn:
        return await how(conn, scope, signal, account, at or datetime.now(UTC), comment)


async def asking(bench, accounts: int = 1, **settings: Any) -> None:
    await bench.set_up(accounts, needs_approval=True, **settings)


async def asked(bench, **fields: Any) -> SignalID:
    """One more signal, planned, about which a person is asked."""
    count = (await bench.rows("SELECT count(*) FROM signal_approvals"))[0][0]
    signal = await bench.signal(**{"quantity": 2, **fields})
    await bench.until(
        f"SELECT count(*) > {count} FROM signal_approvals", True
    )  # all of a plan's rows at once
    return signal


async def kinds(bench) -> list[str]:
    rows = await bench.rows(
        "SELECT kind FROM audit_inbox WHERE starts_with(kind, 'approval.') ORDER BY seq"
    )
    return [kind for (kind,) in rows]


async def change(admin: Database, bench, query: str, *values: Any) -> None:
    async with admin.tenant(bench.scope) as conn:
        await conn.execute(query, values)
