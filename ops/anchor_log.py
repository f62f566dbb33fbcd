"""The anchor log's coming into being: with the platform itself, or once, later, on an installation of before.

1. Its key in the HSM, and the ceremony's record. 2. Its row, under the platform, and a record in the
platform's log. *Crash between: a key without a row, which nobody uses; the same command makes another.*
The recorder finds the row within a quarter of a second and writes the first anchor.
"""

from __future__ import annotations

import asyncio

from audit.inbox import Entry, append
from audit.logs import read_anchor
from audit.record import Kind
from ops.ceremonies import NewLog, new_log, recorded
from ops.key_ceremonies import house
from ops.settings import Settings
from tenancy.clock import SystemClock
from tenancy.database import Connection
from tenancy.errors import Conflict
from tenancy.scope import TenantScope
from tenancy.store.audit_logs import create_audit_log


async def make_anchor_log(settings: Settings) -> NewLog:
    """On an installation that has none. Raises Conflict where there is one, Unavailable."""
    async with house(settings) as at:
        async with at.database.tenant(at.platform) as conn:
            if await read_anchor(conn) is not None:
                raise Conflict("there is an anchor log already")
        async with at.database.tenant(at.platform) as conn:
            return await add_anchor_log(settings, conn, at.platform)


async def add_anchor_log(settings: Settings, conn: Connection, scope: TenantScope) -> NewLog:
    """Steps 1 and 2, in the caller's transaction. `scope`: the platform's."""
    log = await new_log(settings, "anchor")
    await asyncio.to_thread(recorded, settings, "anchor log", log=log.origin)
    await create_audit_log(
        conn, scope, log.log_id, origin=log.origin, key_label=log.origin,
        public_key=log.public_key, p256_key=log.p256_key, kind="anchor",
    )  # fmt: skip
    facts = {"object": "anchor_log", "id": str(log.log_id), "origin": log.origin, "before": None}
    entry = Entry(
        kind=Kind.ADMIN_CHANGE, ts_ns=SystemClock().now_ns(), payload=facts, actor=scope.actor,
        cls="admin",
    )  # fmt: skip
    await append(conn, [(scope.tenant_id, entry)])
    return log
