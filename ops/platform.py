"""The platform's own tenant: made once by `init`, before there is an API to ask.

1. Its keys in the HSM, and its log's.
2. One transaction: the tenant, its audit log, the operators' first service key, and the record of it.
3. The key in `operator.key`, 0600: the one time that it is anywhere.

A crash before 2 commits leaves keys that nobody uses; one between 2 and 3 leaves a platform without
a key on this host: running `init` again finds it, revokes what was not written down, and makes another.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg

from audit.inbox import Entry, append
from audit.record import Kind
from hsm import ceremony
from ops.ceremonies import new_log, token_settings
from ops.settings import Settings
from ops.tls import write_private
from tenancy.clock import SystemClock
from tenancy.database import Connection, Database
from tenancy.roles import scopes_of
from tenancy.scope import Actor, TenantScope
from tenancy.store.audit_logs import create_audit_log
from tenancy.store.service_keys import create_service_key
from tenancy.store.tenants import create_tenant

NAME = "Platform"
INIT = Actor("sys", "init")
KEY_NAME = "operator"


def create(settings: Settings, keys: Path) -> None:
    """Make the platform and write its first key. PostgreSQL runs; the daemons do not."""
    asyncio.run(_create(settings, keys))


async def _create(settings: Settings, keys: Path) -> None:
    path = keys / f"{KEY_NAME}.key"
    database = Database(settings.database.admin, name="portcullis-init", size=1)
    await database.open()
    try:
        scope = await _platform(database)
        if path.exists():
            return
        key = await _key(settings, database, scope)
    finally:
        await database.close()
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, f"{key}\n".encode())
