"""The platform's own tenant: made once by `init`, before there is an API to ask.

1. Its keys in the HSM, and those of its log and of the anchor log.
2. Its rows: the tenant, its audit log, the anchor log, its operators' first service key, the record of all that.
3. The key in `operator.key`, 0600: the one place where it is.
4. The commit of 2.

A crash before 4 leaves keys in the HSM that nothing uses, and perhaps a file with a key that no row
knows: running `init` again makes all of it anew. After 4 everything is there, and init goes on.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from audit.inbox import Entry, append
from audit.record import Kind
from hsm import ceremony
from ops.anchor_log import add_anchor_log
from ops.audit_keys import AtTheToken, ring_of
from ops.ceremonies import new_log, recorded, token_settings
from ops.settings import Settings
from ops.tls import write_private
from tenancy.clock import SystemClock
from tenancy.database import Connection, Database
from tenancy.ids import new_id
from tenancy.roles import scopes_of
from tenancy.scope import Actor, TenantScope
from tenancy.store.audit_logs import create_audit_log
from tenancy.store.service_keys import create_service_key
from tenancy.store.tenants import insert_tenant
from tenancy.values import TenantID

NAME = "Platform"
INIT = Actor("sys", "init")
KEY_NAME = "operator"


def create(settings: Settings, keys: Path) -> bool:
    """Make the platform and write its first key; False where it is there. PostgreSQL runs; the daemons do not.

    In a thread of its own: whoever makes an installation may have an event loop running.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, _create(settings, keys)).result()


async def _create(settings: Settings, keys: Path) -> bool:
    scope = TenantScope(TenantID(new_id()), INIT)
    database = Database(settings.database.admin, name="portcullis-init", size=1)
    await database.open()
    try:
        if await _exists(database):
            return False
        tokens = token_settings(settings)
        await asyncio.to_thread(ceremony.create_tenant_keys, tokens, scope.tenant_id)
        token = AtTheToken(tokens)
        async with (
            ring_of(settings.database.admin, "portcullis-init", token, token.seal),
            database.tenant(scope) as conn,
        ):
            key = await _platform(settings, conn, scope)
            keep_key(keys / f"{KEY_NAME}.key", key)
        return True
    finally:
        await database.close()


def keep_key(path: Path, key: str) -> None:
    """Write a service key where only its owner reads it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, f"{key}\n".encode())


async def _exists(database: Database) -> bool:
    async with database.shared() as conn:
        row = await (await conn.execute("SELECT count(*) FROM platform_terms()")).fetchone()
    return row is not None and row[0] > 0


async def _platform(settings: Settings, conn: Connection, scope: TenantScope) -> str:
    """Rows in the caller's transaction; the key's text. Raises Invalid where there is a platform."""
    log = await new_log(settings)
    await asyncio.to_thread(
        recorded, settings, "tenant", tenant_id=str(scope.tenant_id), log=log.origin
    )
    await insert_tenant(conn, scope, NAME, kind="platform")
    await create_audit_log(
        conn, scope, log.log_id, origin=log.origin, key_label=log.origin,
        public_key=log.public_key, p256_key=log.p256_key,
    )  # fmt: skip
    await add_anchor_log(settings, conn, scope)
    key = await create_service_key(conn, scope, KEY_NAME, scopes_of("platform"))
    facts = {
        "object": "tenant", "id": str(scope.tenant_id), "name": NAME, "origin": log.origin,
        "service_key": key.split("_")[1], "before": None, "why": "init", "operation": "create",
    }  # fmt: skip
    entry = Entry(
        kind=Kind.ADMIN_CHANGE, ts_ns=SystemClock().now_ns(), payload=facts, actor=INIT, cls="admin"
    )
    await append(conn, [(scope.tenant_id, entry)])
    return key
