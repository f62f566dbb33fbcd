"""SQL of tenants."""

from __future__ import annotations

import msgspec
import psycopg

from tenancy.database import Connection, Database
from tenancy.errors import Invalid, NotFound
from tenancy.ids import new_id
from tenancy.scope import Actor, TenantScope
from tenancy.tenant import TenantKind, TenantSettings
from tenancy.values import TenantID


async def create_tenant(
    database: Database, name: str, actor: Actor, *, kind: TenantKind = "customer"
) -> TenantScope:
    """A new tenant, and the scope in which its creator goes on. Raises Invalid for a name in use.

    Only an operator's command calls this: a scope for a tenant that has just been made proves itself.
    """
    scope = TenantScope(tenant_id=TenantID(new_id()), actor=actor)
    async with database.tenant(scope) as conn:
        await insert_tenant(conn, scope, name, kind=kind)
    return scope


async def insert_tenant(
    conn: Connection, scope: TenantScope, name: str, *, kind: TenantKind = "customer"
) -> None:
    """The tenant's row, within its own scope. Raises Invalid for a name or an id in use."""
    try:
        await conn.execute(
            "INSERT INTO tenants (tenant_id, name, kind) VALUES (%s, %s, %s)",
            (scope.tenant_id, name, kind),
        )
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name == "one_platform":
            raise Invalid("there is one platform, and it exists") from None
        if error.diag.constraint_name == "tenants_pkey":
            raise Invalid(f"tenant {scope.tenant_id} exists already") from None
        raise Invalid(f"tenant name {name!r} is in use; choose another") from None
    except psycopg.errors.CheckViolation:
        raise Invalid(f"tenant name {name!r}: 1 to 100 characters are needed") from None


async def read_settings(conn: Connection, tenant: TenantID) -> TenantSettings:
    """What the tenant set for everybody in it. Raises NotFound outside its scope."""
    row = await (
        await conn.execute("SELECT settings::text FROM tenants WHERE tenant_id = %s", (tenant,))
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no tenant {tenant} here")
    return msgspec.json.decode(row[0], type=TenantSettings)
