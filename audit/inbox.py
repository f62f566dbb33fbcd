"""A record in the caller's transaction: neither it nor the change it describes exists without the other.

The leaf will hold only the commitment `pc = HMAC-SHA256(k_rec, payload)`; `k_rec` is 32 fresh
random bytes and lies inside the payload, so that whoever has the payload can open the commitment
and nobody else can guess at it. **Today the payload lies in clear in PostgreSQL, and only there**
(never in a leaf, a tile or a log line): sealing it under data keys that the HSM wraps is issue 6,
and to this module and the recorder it is opaque bytes already.

This is on the way of an order, hence one statement for any number of records. No NOTIFY: it would
make all committing transactions queue for one lock; the recorder looks every 20 ms instead.
"""

from __future__ import annotations

import hmac
import secrets
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from audit import receipts
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
    `cls`: retention class.
    """

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
SELECT * FROM unnest(%b::uuid[], %b::text[], %b::bigint[], %b::text[], %b::text[], %b::text[],
                     %b::text[], %b::text[], %b::bytea[], %b::bytea[])"""


async def append(conn: Connection, entries: Sequence[tuple[TenantID, Entry]]) -> None:
    """Put the records into their tenants' inboxes, in this order, in the caller's transaction.

    They are durable when the caller's commit is. Raises Invalid, before anything is written, for
    text that could not stand in a leaf or a payload that is too large or not JSON-able.
    """
    if entries:
        rows = [_row(tenant, entry) for tenant, entry in entries]
        columns = zip(*rows, strict=True)
        await conn.execute(_INSERT, [list(column) for column in columns])
        receipts.note([receipts.Receipt(row[2], row[8]) for row in rows])


def _row(tenant: TenantID, entry: Entry) -> tuple[Any, ...]:
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
    return (
        tenant, entry.kind.value, entry.ts_ns, entry.oid, entry.acct, _actor(entry.actor),
        entry.cor, entry.cls, commitment, payload,
    )  # fmt: skip


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
