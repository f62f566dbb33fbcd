"""A record in the caller's transaction: neither it nor the change it describes exists without the other."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from audit.record import Kind
from tenancy.database import Connection
from tenancy.scope import Actor
from tenancy.values import TenantID


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One record before it has a place in its log."""

    kind: Kind
    ts_ns: int
    payload: dict[str, Any]
    actor: Actor
    oid: str | None = None
    acct: str | None = None
    cor: str = ""
    cls: str = "trade"


_INSERT = """
INSERT INTO audit_inbox (tenant_id, kind, ts, oid, acct, act, cor, cls, pc, payload)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[],
                     %s::text[], %s::text[], %s::bytea[], %s::bytea[])"""


async def append(conn: Connection, entries: Sequence[tuple[TenantID, Entry]]) -> None:
    """Put the records into their tenants' inboxes, in this order."""
    rows = []
    for tenant, entry in entries:
        key = secrets.token_bytes(32)
        payload = orjson.dumps({**entry.payload, "k_rec": key.hex()}, option=orjson.OPT_SORT_KEYS)
        commitment = hmac.digest(key, payload, hashlib.sha256)
        actor = orjson.dumps({"id": entry.actor.id, "kind": entry.actor.kind}).decode()
        rows.append((
            tenant, entry.kind.value, entry.ts_ns, entry.oid, entry.acct, actor, entry.cor,
            entry.cls, commitment, payload,
        ))  # fmt: skip
    if rows:
        await conn.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])
