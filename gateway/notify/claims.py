"""SQL of deliveries: who is at a channel or a device, how far it has been told, what went wrong.

A claim moves the row's `fence` and holds it until `lease_until`, by the database's clock; whatever a
holder writes names its fence, so that one who was too slow changes nothing and learns it. A change
of the channel by people moves the fence too (0003_channels.sql), and so does one of the device: the
sender stops, and the next one sees the new settings.

Channels and devices are served alike. A channel's failures are alerts in its tenant's log; a device's are
its person's affair, and one whose push service knows it no more is removed, with a record.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from audit.inbox import Entry, append
from audit.record import Kind
from gateway.notify.device import Device
from tenancy.channel import Channel
from tenancy.clock import Clock
from tenancy.database import Connection
from tenancy.roles import actions_of
from tenancy.scope import TenantScope

Source = Literal["channel", "device"]

_ROWS: dict[Source, tuple[str, str]] = {
    "channel": ("channel_deliveries", "channel_id"),
    "device": ("push_devices", "device_id"),
}

_TAKE_CHANNEL = """
UPDATE channel_deliveries d
SET fence = fence + 1, lease_until = now() + make_interval(secs => %(lease_s)s)
FROM channels c, tenants t, audit_logs l
WHERE d.channel_id = %(target_id)s AND c.channel_id = d.channel_id AND t.tenant_id = d.tenant_id
  AND l.tenant_id = d.tenant_id AND c.enabled AND c.archived_at IS NULL AND d.state <> 'gone'
  AND d.next_at <= now() AND d.lease_until <= now()
RETURNING d.fence, d.next_index, d.state, d.attempts, d.failed_since, t.name, l.log_id, l.origin,
          c.name, c.kind, c.url, c.recipients, c.events, c.severity, c.digest_minutes"""

_TAKE_DEVICE = """
UPDATE push_devices d
SET fence = fence + 1, lease_until = now() + make_interval(secs => %(lease_s)s)
FROM people p, push_keys k, tenants t, audit_logs l
WHERE d.device_id = %(target_id)s AND p.person_id = d.person_id AND p.state = 'active'
  AND p.archived_at IS NULL AND k.key_id = d.key_id AND t.tenant_id = d.tenant_id
  AND l.tenant_id = d.tenant_id AND d.next_at <= now() AND d.lease_until <= now()
RETURNING d.fence, d.next_index, d.state, d.attempts, d.failed_since, t.name, l.log_id, l.origin,
          d.person_id, d.endpoint, d.p256dh, d.auth, k.key_id, k.public_key, k.sealed, d.language,
          d.events, d.severity, d.digest_minutes, t.kind, d.second_factor,
          CASE WHEN 'examiner' = ANY(p.roles) AND NOT EXISTS (
                   SELECT FROM audit_examiners e WHERE e.examiner_id = p.person_id
                   AND e.ended_at IS NULL AND e.until > now())
               THEN array_remove(p.roles, 'examiner') ELSE p.roles END"""

_SKIP = """
UPDATE {table}
SET next_index = %(next_index)s, lease_until = now() + make_interval(secs => %(lease_s)s)
WHERE {key} = %(target_id)s AND fence = %(fence)s"""

_DELIVERED = """
UPDATE {table}
SET next_index = %(next_index)s, state = 'working', attempts = 0, failed_since = NULL,
    last_error = NULL, last_attempt_at = now(), last_success_at = now(),
    next_at = now() + make_interval(secs => %(pause_s)s),
    lease_until = now() + make_interval(secs => %(lease_s)s)
WHERE {key} = %(target_id)s AND fence = %(fence)s"""

_FAILED = """
UPDATE {table}
SET state = %(state)s, attempts = %(attempts)s, last_error = %(error)s, last_attempt_at = now(),
    failed_since = CASE WHEN %(blamed)s THEN coalesce(failed_since, now()) ELSE failed_since END,
    next_at = now() + make_interval(secs => %(pause_s)s), lease_until = now()
WHERE {key} = %(target_id)s AND fence = %(fence)s"""

_WAIT = """
UPDATE {table} SET next_at = %(due)s, lease_until = now()
WHERE {key} = %(target_id)s AND fence = %(fence)s"""

_RELEASE = """
UPDATE {table} SET lease_until = now()
WHERE {key} = %(target_id)s AND fence = %(fence)s"""

_END = "DELETE FROM {table} WHERE {key} = %(target_id)s AND fence = %(fence)s"


class Hold(msgspec.Struct, kw_only=True):
    """A channel or device that this process is at. `held_since`: monotonic, when the lease last began anew."""

    scope: TenantScope
    source: Source
    target_id: UUID
    fence: int
    next_index: int
    state: str
    attempts: int
    failed_since: datetime | None
    tenant: str
    log_id: UUID
    origin: str
    target: Channel | Device
    held_since: float

    def __repr__(self) -> str:
        return f"<Hold {self.source} {self.target_id} at {self.next_index}, fence {self.fence}>"


async def take(
    conn: Connection, scope: TenantScope, source: Source, target_id: UUID, lease_s: float
) -> Hold | None:
    """The channel or device, where it is due and nobody is at it."""
    began = time.monotonic()
    query = _TAKE_CHANNEL if source == "channel" else _TAKE_DEVICE
    cursor = await conn.execute(query.encode(), {"target_id": target_id, "lease_s": lease_s})
    row = await cursor.fetchone()
    if row is None:
        return None
    return Hold(
        scope=scope, source=source, target_id=target_id, fence=row[0], next_index=row[1],
        state=row[2], attempts=row[3], failed_since=row[4], tenant=row[5], log_id=row[6],
        origin=row[7], target=_channel(row[8:]) if source == "channel" else _device(row[8:]),
        held_since=began,
    )  # fmt: skip


def _channel(row: Any) -> Channel:
    name, kind, url, recipients, events, severity, digest_minutes = row
    return Channel(
        name=name, kind=kind, url=url, recipients=tuple(recipients), events=tuple(events),
        severity=severity, digest_minutes=digest_minutes,
    )  # fmt: skip


def _device(row: Any) -> Device:
    (person_id, endpoint, p256dh, auth, key_id, public_key, sealed, language, events, severity,
     digest_minutes, kind, second_factor, roles) = row  # fmt: skip
    return Device(
        person_id=person_id, endpoint=endpoint, p256dh=bytes(p256dh), auth=bytes(auth),
        key_id=key_id, public_key=bytes(public_key), sealed=bytes(sealed), language=language,
        events=tuple(events), severity=severity, digest_minutes=digest_minutes,
        actions=actions_of(roles, kind), strong=second_factor, roles=tuple(roles),
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


async def wait(conn: Connection, hold: Hold, due: datetime) -> None:
    """There is nothing to send before `due`; the hold ends."""
    await _write(conn, hold, _WAIT, 0, due=due)


async def release(conn: Connection, hold: Hold) -> None:
    """Let the channel go; nothing, where the hold was lost."""
    await _write(conn, hold, _RELEASE, 0)


async def end_device(conn: Connection, hold: Hold, why: str, clock: Clock) -> bool:
    """The push service knows the device no more: it goes, with a record. False: the hold was lost."""
    assert isinstance(hold.target, Device)
    kept = await _write(conn, hold, _END, 0)
    if kept:
        payload = {
            "event": "push_device_ended", "person": str(hold.target.person_id),
            "device": str(hold.target_id), "next_index": hold.next_index, "why": why,
        }  # fmt: skip
        await _record(conn, hold, Kind.LOGIN, payload, clock)
    return kept


async def tell(
    conn: Connection, hold: Hold, alert: str, more: Mapping[str, Any], clock: Clock
) -> None:
    """An alert in the tenant's own log, in the transaction of what it tells; nothing for a device."""
    if not isinstance(hold.target, Channel):
        return
    payload = {
        "alert": alert, "channel_id": str(hold.target_id), "name": hold.target.name,
        "next_index": hold.next_index, **more,
    }  # fmt: skip
    await _record(conn, hold, Kind.ALERT, payload, clock)


async def _record(
    conn: Connection, hold: Hold, kind: Kind, payload: dict[str, Any], clock: Clock
) -> None:
    entry = Entry(
        kind=kind, ts_ns=clock.now_ns(), payload=payload, actor=hold.scope.actor, cls="admin"
    )
    await append(conn, [(hold.scope.tenant_id, entry)])


async def _write(
    conn: Connection, hold: Hold, query: str, lease_s: float, **values: object
) -> bool:
    began = time.monotonic()
    table, key = _ROWS[hold.source]
    values |= {"target_id": hold.target_id, "fence": hold.fence, "lease_s": lease_s}
    statement = query.format(table=table, key=key).encode()
    if (await conn.execute(statement, values)).rowcount != 1:
        return False
    hold.held_since = began
    if isinstance(index := values.get("next_index"), int):
        hold.next_index = index
    return True
