"""SQL of hooks and their secrets: a secret arrives sealed, its plain text is never here."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from tenancy.database import Connection
from tenancy.ids import new_hook_id
from tenancy.scope import TenantScope
from tenancy.values import StrategyID


async def create_hook(
    conn: Connection,
    scope: TenantScope,
    strategy: StrategyID,
    *,
    sender: str = "standard_webhooks",
) -> str:
    """A new hook for the strategy; its public id."""
    hook = new_hook_id()
    await conn.execute(
        "INSERT INTO hooks (hook_id, tenant_id, strategy_id, sender) VALUES (%s, %s, %s, %s)",
        (hook, scope.tenant_id, strategy, sender),
    )
    return hook


async def add_secret(
    conn: Connection,
    scope: TenantScope,
    hook: str,
    secret: UUID,
    *,
    sealed: bytes,
    expires_at: datetime | None = None,
) -> None:
    """A `v1` secret, sealed under the tenant's key for subject `secret`."""
    await conn.execute(
        "INSERT INTO hook_secrets (secret_id, hook_id, tenant_id, scheme, sealed, expires_at)"
        " VALUES (%s, %s, %s, 'v1', %s, %s)",
        (secret, hook, scope.tenant_id, sealed, expires_at),
    )
