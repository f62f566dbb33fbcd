"""Secrets that this process opens anyway are sealed anew by itself, when their tenant's keys were rotated.

A second factor's seed, a channel's secret, a push key and the key of a tenant's audit payloads come out of the
vault when they are used, here. So nobody has to type them once more, as an API secret has to be, which never comes
out:

1. Tenants with an old version of their keys: ids only. Each is looked at once per version and process.
2. Open what is sealed under an old version, seal it under the current one, open that: the same?
   *Crash: nothing was written.*
3. One transaction: the new rows in place of exactly the old ones, and the record. *Somebody changed or
   removed one meanwhile: theirs stays.*

What cannot be opened or sealed now is tried again in the next turn. A hook's secret is not among them:
this process may not open it; a hook has two live secrets for that (docs/hsm/rotation.md).
"""

from __future__ import annotations

from uuid import UUID

import structlog

from audit.record import Kind
from gateway.admin import changes, sealed_rows
from gateway.admin.changes import By
from gateway.admin.operation import Services
from gateway.admin.sealed_rows import SealedRow, Source
from hsm.enrol import encrypt_secret
from hsm.envelope import unpack
from tenancy.errors import PortcullisError
from tenancy.scope import Actor, TenantScope
from tenancy.values import TenantID

log = structlog.get_logger()

CLERK = Actor("sys", "resealing")
MOST = 50
"""Rows of one tenant in one turn: each costs the enroller ten milliseconds of RSA."""

_REPLACE: dict[Source, str] = {
    "channel_secret": "UPDATE channel_secrets SET sealed = %s WHERE secret_id = %s AND sealed = %s",
    "push_key": "UPDATE push_keys SET sealed = %s WHERE key_id = %s AND sealed = %s",
    "audit_key": "UPDATE audit_keys SET sealed = %s WHERE tenant_id = %s AND sealed = %s",
    "factor": "UPDATE factors SET sealed = %s WHERE factor_id = %s AND sealed = %s",
}


class Resealing:
    """The job, and which tenants it has done. One per process."""

    def __init__(self) -> None:
        self._done: dict[UUID, int] = {}

    async def __call__(self, services: Services) -> int:
        """One turn; how many rows were sealed anew."""
        async with services.database.shared() as conn:
            cursor = await conn.execute("SELECT tenant_id, version FROM find_tenants_to_reseal()")
            found = await cursor.fetchall()
        sealed = 0
        for tenant, version in found:
            if self._done.get(tenant) == version or sealed >= MOST:
                continue  # the rest in the next turn: no turn is long
            scope = TenantScope(TenantID(tenant), CLERK)
            made, left = await reseal(services, scope, version)
            sealed += made
            if not left:
                self._done[tenant] = version
        return sealed


async def reseal(services: Services, scope: TenantScope, version: int) -> tuple[int, int]:
    """Steps 2 and 3 for one tenant: how many rows, and how many are left for another turn."""
    async with services.database.tenant(scope) as conn:
        rows = sealed_rows.below(await sealed_rows.read(conn), version)
    old = [row for row in rows if row.source in sealed_rows.BY_ITSELF]
    fresh: list[tuple[SealedRow, bytes]] = []
    for row in old[:MOST]:
        try:
            fresh.append((row, await _anew(services, scope, row)))
        except PortcullisError as error:
            log.warning("not_resealed", source=row.source, row=row.object_id, code=error.code)
    made = await _replaced(services, scope, version, fresh) if fresh else 0
    return made, len(old) - len(fresh)


async def _anew(services: Services, scope: TenantScope, row: SealedRow) -> bytes:
    """The same secret, sealed under the current version. Raises PortcullisError, and nothing has changed."""
    was, tenant = unpack(row.sealed), scope.tenant_id
    secret = await services.signer.open_secret(row.sealed, tenant_id=tenant, subject=was.subject)
    ciphertext = encrypt_secret(await services.enroller.public_key_pem(), secret)
    sealed = await services.enroller.seal_secret(tenant, was.subject, was.purpose, ciphertext)
    again = await services.signer.open_secret(sealed, tenant_id=tenant, subject=was.subject)
    if again != secret or unpack(sealed).kek_version <= was.kek_version:
        raise PortcullisError("what was sealed anew is not the same secret under a newer version")
    return sealed


async def _replaced(
    services: Services, scope: TenantScope, version: int, fresh: list[tuple[SealedRow, bytes]]
) -> int:
    made = 0
    async with services.database.tenant(scope) as conn:
        for row, sealed in fresh:
            done = await conn.execute(
                _REPLACE[row.source].encode(), (sealed, row.object_id, row.sealed)
            )
            made += done.rowcount
        who = By(scope=scope, conn=conn, services=services)
        facts = {"event": "resealed", "version": version, "rows": made}
        await changes.record_change(who, Kind.KEY_ROTATION, facts)
    return made
