"""SQL of tenants."""

from __future__ import annotations

import psycopg

from tenancy.database import Database
from tenancy.errors import Invalid
from tenancy.ids import new_id
from tenancy.scope import Actor, TenantScope
from tenancy.values import TenantID


async def create_tenant(database: Database, name: str, actor: Actor) -> TenantScope:
    """A new tenant, and the scope in which its creator goes on. Raises Invalid for a name in use.

    Only an operator's command calls this: a scope for a tenant that has just been made proves itself.
    """
    scope = TenantScope(tenant_id=TenantID(new_id()), actor=actor)
    try:
        async with database.tenant(scope) as conn:
            await conn.execute(
                "INSERT INTO tenants (tenant_id, name) VALUES (%s, %s)", (scope.tenant_id, name)
            )
    except psycopg.errors.UniqueViolation:
        raise Invalid(f"tenant name {name!r} is in use; choose another") from None
    except psycopg.errors.CheckViolation:
        raise Invalid(f"tenant name {name!r}: 1 to 100 characters are needed") from None
    return scope
