"""SQL of deliveries: who is at a channel, how far it has been told, what went wrong.

A claim moves the row's `fence` and holds it until `lease_until`, by the database's clock; whatever a
holder writes names its fence, so that one who was too slow changes nothing and learns it. A change
of the channel by people moves the fence too (0003_channels.sql): the sender stops, and the next one
sees the new settings.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from audit.inbox import Entry, append
from audit.record import Kind
from tenancy.channel import Channel
from tenancy.clock import Clock
from tenancy.database import Connection
from tenancy.scope import TenantScope

_TAKE = """
UPDATE channel_deliveries d
SET fence = fence + 1, lease_until = now() + make_interval(secs => %(lease_s)s)
FROM channels c, tenants t, audit_logs l
WHERE d.channel_id = %(channel_id)s AND c.channel_id = d.channel_id AND t.tenant_id = d.tenant_id
  AND l.tenant_id = d.tenant_id AND c.enabled AND c.archived_at IS NULL AND d.state <> 'gone'
  AND d.next_at <= now() AND d.lease_until <= now()
RETURNING d.fence, d.next_index, d.state, d.attempts, d.failed_since, t.name, l.log_id, l.origin,
          c.name, c.kind, c.url, c.recipients, c.events, c.severity"""

_SKIP = """
UPDATE channel_deliveries
SET next_index = %(next_index)s, lease_until = now() + make_interval(secs => %(lease_s)s)
WHERE channel_id = %(channel_id)s AND fence = %(fence)s"""

_DELIVERED = """
UPDATE channel_deliveries
SET next_index = %(next_index)s, state = 'working', attempts = 0, failed_since = NULL,
    last_error = NULL, last_attempt_at = now(), last_success_at = now(),
    next_at = now() + make_interval(secs => %(pause_s)s),
    lease_until = now() + make_interval(secs => %(lease_s)s)
WHERE channel_id = %(channel_id)s AND fence = %(fence)s"""

_FAILED = """
UPDATE channel_deliveries
SET state = %(state)s, attempts = %(attempts)s, last_error = %(error)s, last_attempt_at = now(),
    failed_since = CASE WHEN %(blamed)s THEN coalesce(failed_since, now()) ELSE failed_since END,
    next_at = now() + make_interval(secs => %(pause_s)s), lease_until = now()
WHERE channel_id = %(channel_id)s AND fence = %(fence)s"""

_RELEASE = """
UPDATE channel_deliveries SET lease_until = now()
WHERE channel_id = %(channel_id)s AND fence = %(fence)s"""


class Hold(msgspec.Struct, kw_only=True):
    """A channel that this process is at. `held_since`: monotonic, when the lease last began anew."""

    scope: TenantScope
    channel_id: UUID
    fence: int
    next_index: int
    state: str
    attempts: int
    failed_since: datetime | None
    tenant: str
    log_id: UUID
    origin: str
    channel: Channel
    held_since: float

    def __repr__(self) -> str:
        return f"<Hold {self.channel_id} at {self.next_index}, fence {self.fence}>"


async def take(
    conn: Connection, scope: TenantScope, channel_id: UUID, lease_s: float
) -> Hold | None:
    """The channel, where it is due and nobody is at it."""
    began = time.monotonic()
    cursor = await conn.execute(_TAKE, {"channel_id": channel_id, "lease_s": lease_s})
    row = await cursor.fetchone()
    if row is None:
        return None
    name, kind, url, recipients, events, severity = row[8:]
    channel = Channel(
        name=name, kind=kind, url=url, recipients=tuple(recipients), events=tuple(events),
        severity=severity,
    )  # fmt: skip
    return Hold(
        scope=scope, channel_id=channel_id, fence=row[0], next_index=row[1], state=row[2],
        attempts=row[3], failed_since=row[4], tenant=row[5], log_id=row[6], origin=row[7],
        channel=channel, held_since=began,
    )  # fmt: skip


async def skip(conn: Connection, hold: Hold, next_index: int, lease_s: float) -> bool:
    """Go on past records that the channel did not ask for. False: the hold is lost."""
    return await _write(conn, hold, _SKIP, lease_s, next_index=next_index)


async def delivered(
    conn: Connection, hold: Hold, next_index: int, lease_s: float, pause_s: float, clock: Clock
) -> bool:
    """The receiver has everything before `next_index`. False: the hold is lost."""
    kept = await _write(conn, hold, _DELIVERED, lease_s, next_index=next_index, pause_s=pause_s)
    if kept and hold.state == "failing":
        await tell(conn, hold, "channel_recovered", {}, clock)
    if kept:
        hold.state, hold.attempts, hold.failed_since = "working", 0, None
    return kept


async def failed(
    conn: Connection,
    hold: Hold,
    state: str,
    error: str,
    *,
    pause_s: float,
    blamed: bool,
    clock: Clock,
) -> bool:
    """An attempt failed and the hold ends; a channel that is newly failing or gone is an alert.

    `blamed`: by the receiver's fault. False: the hold was lost before.
    """
    values = {"state": state, "error": error, "pause_s": pause_s, "blamed": blamed}
    kept = await _write(conn, hold, _FAILED, 0, attempts=hold.attempts + blamed, **values)
    if kept and state != hold.state:
        await tell(conn, hold, f"channel_{state}", {"error": error}, clock)
    return kept


async def release(conn: Connection, hold: Hold) -> None:
    """Let the channel go; nothing, where the hold was lost."""
    await _write(conn, hold, _RELEASE, 0)


async def tell(
    conn: Connection, hold: Hold, alert: str, more: dict[str, Any], clock: Clock
) -> None:
    """An alert in the tenant's own log, in the transaction of what it tells."""
    payload = {
        "alert": alert, "channel_id": str(hold.channel_id), "name": hold.channel.name,
        "next_index": hold.next_index, **more,
    }  # fmt: skip
    entry = Entry(
        kind=Kind.ALERT, ts_ns=clock.now_ns(), payload=payload, actor=hold.scope.actor, cls="admin"
    )
    await append(conn, [(hold.scope.tenant_id, entry)])


async def _write(
    conn: Connection, hold: Hold, query: str, lease_s: float, **values: object
) -> bool:
    began = time.monotonic()
    values |= {"channel_id": hold.channel_id, "fence": hold.fence, "lease_s": lease_s}
    if (await conn.execute(query.encode(), values)).rowcount != 1:
        return False
    hold.held_since = began
    if isinstance(index := values.get("next_index"), int):
        hold.next_index = index
    return True
