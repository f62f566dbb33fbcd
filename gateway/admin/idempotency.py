"""A POST that is repeated under its Idempotency-Key gets the first answer again and causes nothing new.

In the transaction of the change itself:

1. Take the lock of (tenant, caller, key), so that two of the same wait for each other.
2. An answer that is kept: the same request gets it again; another one is a conflict.
3. The change, and its answer, without what is shown once. A crash before the commit: neither.

Only answers that say yes are kept: a refusal changed nothing, so trying again is a new request.
Kept for a day (`forget` clears what is older, from the admin process' scheduler).
Source: draft-ietf-httpapi-idempotency-key-header.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from gateway.admin.errors import BadRequest, IdempotencyConflict
from gateway.admin.operation import Principal
from gateway.answers import JSON, Answer
from tenancy.database import Connection

HEADER = "idempotency-key"
KEPT_HOURS = 24
_KEY = re.compile(r'"?([!#-~]{1,255})"?', re.ASCII)
"""Bare, or quoted as the draft's structured field is."""

_FIND = """
SELECT request_sha256, status, headers::text, body FROM idempotency_keys
WHERE actor_id = %s AND key = %s AND created_at > now() - make_interval(hours => %s)"""
_KEEP = """
INSERT INTO idempotency_keys (tenant_id, actor_id, key, request_sha256, status, headers, body)
VALUES (%s, %s, %s, %s, %s, %s::jsonb, %s)
ON CONFLICT (tenant_id, actor_id, key) DO UPDATE SET request_sha256 = EXCLUDED.request_sha256,
    status = EXCLUDED.status, headers = EXCLUDED.headers, body = EXCLUDED.body, created_at = now()"""
_FORGET = "DELETE FROM idempotency_keys WHERE created_at < now() - make_interval(hours => %s)"


class Once(msgspec.Struct, frozen=True):
    """A key, and the request it stands for."""

    key: str
    request_sha256: bytes


def read_key(text: str | None, method: str, path: str, body: bytes) -> Once | None:
    """The header's value with the digest of its request. Raises BadRequest."""
    if text is None:
        return None
    found = _KEY.fullmatch(text)
    if found is None:
        raise BadRequest(
            "Idempotency-Key: 1 to 255 printable ASCII characters without spaces and quotes are needed"
        )
    digest = hashlib.sha256(b"\0".join((method.encode(), path.encode(), body)))
    return Once(found[1], digest.digest())


async def find(conn: Connection, principal: Principal, once: Once) -> Answer | None:
    """The answer that was given before. Raises IdempotencyConflict for another request."""
    actor = principal.scope.actor.id
    lock = f"{principal.scope.tenant_id}:{actor}:{once.key}"
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (lock,))
    row = await (await conn.execute(_FIND, (actor, once.key, KEPT_HOURS))).fetchone()
    if row is None:
        return None
    if bytes(row[0]) != once.request_sha256:
        raise IdempotencyConflict(
            "this Idempotency-Key stands for another request: use a new key for a new one"
        )
    headers = [(name.encode(), value.encode()) for name, value in msgspec.json.decode(row[2])]
    replayed = (*headers, (b"idempotency-replayed", b"true"))
    return Answer(row[1], "replayed", bytes(row[3]), JSON, replayed)


async def keep(conn: Connection, principal: Principal, once: Once, answer: Answer) -> None:
    """Keep an answer; it must not hold what is shown once."""
    headers: list[Any] = [(name.decode(), value.decode()) for name, value in answer.headers]
    await conn.execute(
        _KEEP,
        (
            principal.scope.tenant_id, principal.scope.actor.id, once.key, once.request_sha256,
            answer.status, msgspec.json.encode(headers).decode(), answer.body,
        ),
    )  # fmt: skip


async def forget(conn: Connection) -> int:
    """Clear what is older than a day in the transaction's tenant; how many."""
    return (await conn.execute(_FORGET, (KEPT_HOURS,))).rowcount
