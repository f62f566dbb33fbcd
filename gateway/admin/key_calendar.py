"""Keys that are due: a metric over all tenants, and a record in their owner's log, once soon and once overdue.

The record is what channels and the live stream tell (gateway/admin/event_kinds.py: `key_due`).

1. Which keys are due within AHEAD and were not told as they are now: ids only, over all tenants.
2. For each, in its tenant's scope and one transaction: its row says that it was told, and the record.
   *Crash before the commit: the next turn tells it.* The row is locked by its update, so two
   processes that run the same turn tell it once.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from audit.record import Kind
from gateway.admin import changes
from gateway.admin.changes import By
from gateway.admin.operation import Services
from hsm import metrics
from tenancy.scope import Actor, TenantScope
from tenancy.store import hsm_keys
from tenancy.values import TenantID

AHEAD = timedelta(days=30)
MOST = 100
"""Keys told in one turn; the rest in the next ones."""
CLERK = Actor("sys", "key-calendar")

_TOLD = """
UPDATE hsm_keys SET warned = CASE WHEN due_at <= %(now)s THEN 'overdue' ELSE 'soon' END
WHERE kind = %(kind)s AND version = %(version)s AND state = 'current' AND due_at <= %(now)s + %(ahead)s
  AND warned <> CASE WHEN due_at <= %(now)s THEN 'overdue' ELSE 'soon' END
RETURNING label, due_at, warned"""


async def warn_of_keys(services: Services) -> int:
    """One turn; how many keys were told of."""
    now = services.clock.now()
    async with services.database.shared() as conn:
        metrics.KEY_DUE.clear()
        for kind, due_at in (await hsm_keys.next_due(conn)).items():
            metrics.KEY_DUE.labels(kind).set(due_at.timestamp())
        cursor = await conn.execute(
            "SELECT tenant_id, kind, version FROM find_keys_to_warn(%s, %s, %s)", (now, AHEAD, MOST)
        )
        found = await cursor.fetchall()
    told = 0
    for tenant, kind, version in found:
        told += await _tell(services, TenantScope(TenantID(tenant), CLERK), kind, version, now)
    return told


async def _tell(
    services: Services, scope: TenantScope, kind: str, version: int, now: datetime
) -> int:
    async with services.database.tenant(scope) as conn:
        values = {"kind": kind, "version": version, "now": now, "ahead": AHEAD}
        row = await (await conn.execute(_TOLD, values)).fetchone()
        if row is None:
            return 0  # another process was here first, or a ceremony
        label, due_at, level = row
        event = "key_overdue" if level == "overdue" else "key_due_soon"
        facts = {"event": event, "key": label, "version": version, "due_at": due_at.isoformat()}
        who = By(scope=scope, conn=conn, services=services)
        await changes.record_change(who, Kind.KEY_ROTATION, facts)
    return 1
