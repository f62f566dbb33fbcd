"""SQL of Web Push: a person's own devices, and the keys of a tenant that they were subscribed under."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from tenancy.database import Connection
from tenancy.ids import new_id
from tenancy.people import PersonID
from tenancy.scope import TenantScope

_LISTED = """
SELECT device_id, label, endpoint, key_id, language, events, severity, digest_minutes, state, last_error,
       last_success_at, created_at
FROM push_devices WHERE person_id = %s ORDER BY device_id"""
_ONE = """
SELECT d.person_id, d.endpoint, d.p256dh, d.auth, d.key_id, k.public_key, k.sealed, d.language, d.events,
       d.severity, d.digest_minutes
FROM push_devices d JOIN push_keys k USING (key_id) WHERE d.person_id = %s AND d.device_id = %s"""
_OF_SOMEBODY_ELSE = "DELETE FROM push_devices WHERE endpoint = %s AND person_id <> %s"
_PUT = """
INSERT INTO push_devices (device_id, tenant_id, person_id, key_id, endpoint, p256dh, auth, label, language, events,
                          severity, digest_minutes, second_factor)
VALUES (%(device_id)s, %(tenant_id)s, %(person_id)s, %(key_id)s, %(endpoint)s, %(p256dh)s, %(auth)s, %(label)s,
        %(language)s, %(events)s, %(severity)s, %(digest_minutes)s, %(second_factor)s)
ON CONFLICT (tenant_id, endpoint) DO UPDATE
SET key_id = excluded.key_id, p256dh = excluded.p256dh, auth = excluded.auth, label = excluded.label,
    language = excluded.language, events = excluded.events, severity = excluded.severity,
    digest_minutes = excluded.digest_minutes, second_factor = excluded.second_factor, state = 'working',
    attempts = 0, failed_since = NULL, next_at = now(), lease_until = now(), fence = push_devices.fence + 1
RETURNING device_id"""


class KeptKey(msgspec.Struct, frozen=True):
    """A tenant's push key: its id and its public half."""

    key_id: UUID
    public_key: bytes


async def listed(conn: Connection, person: PersonID) -> list[dict[str, Any]]:
    """The person's devices, oldest first, without their keys."""
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(_LISTED.encode(), (person,))
    return [{**row, "events": tuple(row["events"])} for row in await cursor.fetchall()]


async def one(conn: Connection, person: PersonID, device_id: UUID) -> dict[str, Any] | None:
    """The members of a gateway.notify.device.Device that the database knows; None: not theirs."""
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(_ONE.encode(), (person, device_id))
    row = await cursor.fetchone()
    if row is None:
        return None
    for name in ("p256dh", "auth", "public_key", "sealed"):
        row[name] = bytes(row[name])
    return {**row, "events": tuple(row["events"])}


async def put(
    conn: Connection, scope: TenantScope, person: PersonID, row: Mapping[str, Any]
) -> UUID:
    """A new device, or the one with this endpoint, changed. Who was told in this browser before is no more."""
    await conn.execute(_OF_SOMEBODY_ELSE, (row["endpoint"], person))
    values = {"device_id": new_id(), "tenant_id": scope.tenant_id, "person_id": person, **row}
    found = await (await conn.execute(_PUT.encode(), values)).fetchone()
    assert found is not None
    device_id: UUID = found[0]
    return device_id


async def remove(conn: Connection, person: PersonID, device_id: UUID) -> bool:
    """False: it is not theirs."""
    query = "DELETE FROM push_devices WHERE person_id = %s AND device_id = %s"
    return (await conn.execute(query, (person, device_id))).rowcount == 1


async def remove_all(conn: Connection, person: PersonID) -> int:
    """How many there were."""
    return (await conn.execute("DELETE FROM push_devices WHERE person_id = %s", (person,))).rowcount


async def newest_key(conn: Connection) -> KeptKey | None:
    """Under which the next device subscribes."""
    return await _key(conn, "true", ())


async def key_of(conn: Connection, public_key: bytes) -> KeptKey | None:
    """The tenant's key with that public half."""
    return await _key(conn, "public_key = %s", (public_key,))


async def _key(conn: Connection, condition: str, values: tuple[Any, ...]) -> KeptKey | None:
    query = (
        f"SELECT key_id, public_key FROM push_keys WHERE {condition} ORDER BY key_id DESC LIMIT 1"  # noqa: S608
    )
    row = await (await conn.execute(query.encode(), values)).fetchone()
    return None if row is None else KeptKey(row[0], bytes(row[1]))


async def put_key(
    conn: Connection, scope: TenantScope, key_id: UUID, public_key: bytes, sealed: bytes
) -> datetime:
    """A new key; since when it is."""
    query = (
        "INSERT INTO push_keys (key_id, tenant_id, public_key, sealed) VALUES (%s, %s, %s, %s)"
        " RETURNING created_at"
    )
    row = await (
        await conn.execute(query, (key_id, scope.tenant_id, public_key, sealed))
    ).fetchone()
    assert row is not None
    since: datetime = row[0]
    return since


async def end_other_keys(conn: Connection, key_id: UUID, *, devices: bool) -> int:
    """Every other key that no device is under, and with `devices` the devices too; how many of them."""
    ended = 0
    if devices:
        query = "DELETE FROM push_devices WHERE key_id <> %s"
        ended = (await conn.execute(query, (key_id,))).rowcount
    await conn.execute(
        "DELETE FROM push_keys k WHERE key_id <> %s"
        " AND NOT EXISTS (SELECT FROM push_devices d WHERE d.key_id = k.key_id)",
        (key_id,),
    )
    return ended
