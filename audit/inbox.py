"""A record in the caller's transaction: neither it nor the change it describes exists without the other.

The leaf will hold only the commitment `pc = HMAC-SHA256(k_rec, payload)`; `k_rec` is 32 fresh
random bytes and lies inside the payload, so that whoever has the payload can open the commitment
and nobody else can guess at it. The payload is encrypted under its subject's key before it is written
(audit/ring.py): neither the inbox nor a WAL archive ever holds plain text, and to the recorder it is
opaque bytes.

This is on the way of an order, hence one statement for any number of records. No NOTIFY: it would
make all committing transactions queue for one lock; the recorder looks every 20 ms instead. A record
that cannot be written within `append_wait_ms` (`wait()`) raises AuditUnavailable, and the caller's
transaction rolls back: what it would have described does not happen.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
import orjson

from audit import metrics, receipts, ring, sealing
from audit.ports import AuditUnavailable
from audit.record import Kind
from tenancy.database import Connection
from tenancy.errors import Invalid
from tenancy.scope import Actor
from tenancy.values import TenantID

LONGEST_TEXT = 256
"""Characters in any text that goes into a leaf: with it, every leaf fits its 16 KiB."""
LARGEST_PAYLOAD = 1024 * 1024


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One record before it has a place in its log.

    `ts_ns`: when it happened, Unix nanoseconds. `payload`: JSON-able, decimals as strings, secrets
    already removed. `oid`: the order whose story it continues. `acct`: a pseudonym. `cor`: trace id.
    `cls`: retention class (audit/retention.py). `subject`: whom it is about, and so under whose key
    the payload lies; None: the account where there is one, else who acts where it is a person's act,
    else the tenant.
    """

    kind: Kind
    ts_ns: int
    payload: dict[str, Any]
    actor: Actor
    oid: str | None = None
    acct: str | None = None
    cor: str = ""
    cls: str = "trade"
    subject: str | None = None


_INSERT = """
INSERT INTO audit_inbox (tenant_id, kind, ts, oid, acct, act, cor, cls, subject, pc, payload)
SELECT * FROM unnest(%b::uuid[], %b::text[], %b::bigint[], %b::text[], %b::text[], %b::text[],
                     %b::text[], %b::text[], %b::text[], %b::bytea[], %b::bytea[])"""

_wait_s = 2.0


def wait(append_wait_ms: int) -> None:
    """How long append() may take in this process, from now on."""
    global _wait_s  # one process, one setting, as the ring
    _wait_s = append_wait_ms / 1000


async def append(conn: Connection, entries: Sequence[tuple[TenantID, Entry]]) -> list[bytes]:
    """Put the records into their tenants' inboxes, in this order, in the caller's transaction.

    They are durable when the caller's commit is. Returns each one's commitment `pc`, by which its leaf
    is found later. Raises Invalid, before anything is written, for text that could not stand in a leaf
    or a payload that is too large or not JSON-able; AuditUnavailable where the payloads cannot be
    encrypted or the rows not be written in time: the caller's transaction must roll back.
    """
    if not entries:
        return []
    rows = [_row(tenant, entry) for tenant, entry in entries]
    try:
        async with asyncio.timeout(_wait_s):
            with metrics.APPEND_SECONDS.time():
                stored = await ring.current().seal_all(
                    [(row[0], row[8], payload, row[9]) for row, payload in rows]
                )
                columns = zip(*(row for row, _ in rows), strict=True)
                await conn.execute(_INSERT, [*map(list, columns), stored])
    except TimeoutError:
        metrics.APPEND_FAILURES.inc()
        raise AuditUnavailable(
            f"no audit record could be written within {_wait_s:g} s; nothing was done"
        ) from None
    receipts.note([receipts.Receipt(row[2], row[9]) for row, _ in rows])
    return [row[9] for row, _ in rows]


def _row(tenant: TenantID, entry: Entry) -> tuple[tuple[Any, ...], bytes]:
    """The columns up to the commitment, and the payload in clear, which goes no further than this."""
    for text in (entry.oid, entry.acct, entry.cor, entry.cls):
        _check(text)
    key = secrets.token_bytes(32)
    try:
        payload = orjson.dumps({**entry.payload, "k_rec": key.hex()}, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise Invalid(f"the payload of an audit record is not JSON-able: {error}") from None
    if len(payload) > LARGEST_PAYLOAD:
        raise Invalid(f"the payload of an audit record has {len(payload)} bytes; at most 1 MiB")
    commitment = hmac.digest(key, payload, "sha256")
    row = (
        tenant, entry.kind.value, entry.ts_ns, entry.oid, entry.acct, _actor(entry.actor),
        entry.cor, entry.cls, subject_of(entry), commitment,
    )  # fmt: skip
    return row, payload


def subject_of(entry: Entry) -> str:
    """Whom the record is about. Pure."""
    if entry.subject is not None:
        _check(entry.subject)
        return entry.subject
    if entry.acct is not None:
        return sealing.account(entry.acct)
    if entry.actor.kind == "human" and _is_person(entry.actor.id):
        return sealing.person(entry.actor.id)
    return sealing.TENANT


@lru_cache(maxsize=1024)
def _is_person(actor: str) -> bool:
    """An operator on the host is nobody whom the tenant knows."""
    try:
        return str(UUID(actor)) == actor
    except ValueError:
        return False


@lru_cache(maxsize=1024)
def _actor(actor: Actor) -> str:
    _check(actor.id)
    return orjson.dumps({"id": actor.id, "kind": actor.kind}).decode()


def _check(text: str | None) -> None:
    if text is None or (len(text) <= LONGEST_TEXT and text.isascii() and "\x00" not in text):
        return
    if len(text) > LONGEST_TEXT or "\x00" in text or not unicodedata.is_normalized("NFC", text):
        raise Invalid(
            f"text for an audit leaf is NFC, without NUL, at most {LONGEST_TEXT} characters"
        )
