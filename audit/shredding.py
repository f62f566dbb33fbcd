"""Destroying what is known of a subject: its data keys, after retention, under no hold, by two people.

1. Asked: what stands against it is looked for (`against`), and its keys are *retired*: nothing new is
   sealed under them once every process has asked again (audit/ring.py). *Crash or a no: retired keys
   still open; the subject's next record gets a new one.*
2. The second person says yes, RETIRED_S later at the earliest. In their one transaction: looked for again,
   the keys' rows deleted, the generation raised, `shred` in the log, the erasure's row with that record's
   commitment. *Crash before the commit: nothing. After it: the content is gone.*
3. The record is under a published checkpoint: the receipt can be had (audit/receipt.py).

A record of the subject from after 1 is within its retention, so 2 refuses: no key goes that was used
meanwhile. One that is still in the inbox, too.

What "destroyed" means. Without its data key a payload is noise, in every copy. The wrapped key's bytes were
in a row: PostgreSQL writes a new version for an UPDATE and leaves the old one, so overwriting first would
only write them once more. The row is deleted; autovacuum takes it off its page within minutes; the page's
free space and the write-ahead log keep the bytes until they are used again. Whoever has such remains, or a
backup of `audit_data_keys`, needs the tenant's audit key besides, which only the HSM opens. How long backups
of that table are kept is how long an erasure takes to be final (docs/audit/payloads.md).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from audit import holds
from audit.holds import Standing
from audit.ring import RETIRED_S
from tenancy.database import Connection
from tenancy.errors import Conflict, NotFound, PortcullisError, Unavailable
from tenancy.scope import Actor, TenantScope

KIND = "audit_subject"
"""Of the proposals."""


class UnderHold(PortcullisError):
    """A legal hold covers what is to be erased: says which."""

    code = "under_hold"


class WithinRetention(PortcullisError):
    """What is to be erased must still be kept: says until when."""

    code = "within_retention"


class TooEarly(Unavailable):
    """The keys were retired a moment ago, and a process may still be sealing with them: try again."""

    code = "shred_too_early"


class Against(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a subject's records, and what stands against erasing them."""

    records: int
    waiting: int
    keep_until: datetime | None
    holds: tuple[Standing, ...]


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """`through_version`: every version of the subject's key up to it is gone. `log_size`: the `shred`
    record's index is at or above it; `pc` is its commitment."""

    erasure_id: UUID
    subject: str
    through_version: int
    erased_at: datetime
    why: str
    asked_by: Actor
    approved_by: Actor
    proposal_id: UUID
    records: int
    log_size: int
    pc: bytes


_KEPT = """
SELECT count(*), max(greatest(p.keep_until, p.recorded_at + make_interval(
    years => greatest(coalesce(r.years, audit_years_default()), %(years)s))))
FROM audit_payloads p LEFT JOIN audit_retention r ON r.tenant_id = p.tenant_id AND r.cls = p.cls
WHERE p.subject = %(subject)s"""
_KEYS = """
SELECT version, retired_at FROM audit_data_keys WHERE subject = %s ORDER BY version FOR UPDATE"""
_RETIRE = """
UPDATE audit_data_keys SET retired_at = %s WHERE subject = %s AND retired_at IS NULL"""
_CHANGED = """
UPDATE audit_keys SET generation = generation + 1 WHERE tenant_id = portcullis_tenant()"""
_COLUMNS = ", ".join(Erasure.__struct_fields__)


async def against(conn: Connection, subject: str, years: int) -> Against:
    """What stands against it. `years`: what the tenant itself says everything is kept for."""
    row = await (await conn.execute(_KEPT, {"subject": subject, "years": years})).fetchone()
    waiting = await (await conn.execute("SELECT audit_records_waiting(%s)", (subject,))).fetchone()
    assert row is not None
    assert waiting is not None
    standing = tuple(await holds.standing(conn, subject))
    return Against(records=row[0], waiting=waiting[0], keep_until=row[1], holds=standing)


def refuse(subject: str, found: Against, now: datetime) -> None:
    """Raise what stands against it, a hold before retention; nothing where nothing does. Pure."""
    if found.holds:
        first = found.holds[0]
        raise UnderHold(
            f"{subject} is under {len(found.holds)} legal hold(s), the first is {first.hold_id}:"
            f" {first.why}"
        )
    if found.waiting or (found.keep_until is not None and found.keep_until > now):
        until = "" if found.keep_until is None else f" until {found.keep_until:%Y-%m-%d}"
        raise WithinRetention(
            f"{found.records + found.waiting} records of {subject} must be kept{until}"
        )


async def retire(conn: Connection, subject: str, now: datetime) -> int:
    """Step 1: how many versions there are. Raises NotFound for a subject without any key."""
    keys = await (await conn.execute(_KEYS, (subject,))).fetchall()
    if not keys:
        raise NotFound(f"nothing is kept under a key of {subject!r}: nothing to erase")
    await conn.execute(_RETIRE, (now, subject))
    await conn.execute(_CHANGED)
    return len(keys)


async def ripe(conn: Connection, subject: str, now: datetime) -> list[int]:
    """Step 2, first: the versions to destroy, locked.

    Raises TooEarly; Conflict where one was made since, or somebody else destroyed them.
    """
    keys = await (await conn.execute(_KEYS, (subject,))).fetchall()
    if not keys or any(retired_at is None for _, retired_at in keys):
        raise Conflict(f"the keys of {subject} have changed since this was asked for: ask again")
    ready = max(retired_at for _, retired_at in keys) + timedelta(seconds=RETIRED_S)
    if now < ready:
        raise TooEarly(
            f"a process may still be sealing with the keys of {subject}: try again at"
            f" {ready:%H:%M:%S} UTC"
        )
    return [version for version, _ in keys]


async def destroy(
    conn: Connection, scope: TenantScope, erasure: Erasure, versions: list[int]
) -> None:
    """Step 2, last: the rows go, and the erasure is on record. In the transaction of its `shred` record."""
    gone = await conn.execute(
        "DELETE FROM audit_data_keys WHERE subject = %s AND version = ANY(%s)",
        (erasure.subject, versions),
    )
    if gone.rowcount != len(versions):
        raise Conflict(f"the keys of {erasure.subject} have changed meanwhile: ask again")
    await conn.execute(_CHANGED)
    values = [_plain(value) for value in msgspec.structs.astuple(erasure)]
    await conn.execute(
        f"INSERT INTO audit_erasures (tenant_id, {_COLUMNS})"  # noqa: S608
        " VALUES (%s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s, %s, %s, %s)",
        (scope.tenant_id, *values),
    )


async def erasures(conn: Connection, erasure_id: UUID | None = None) -> list[Erasure]:
    """Those of the tenant, or one; newest first."""
    cursor = await conn.execute(
        f"SELECT {_COLUMNS} FROM audit_erasures WHERE %(id)s::uuid IS NULL OR erasure_id = %(id)s"  # noqa: S608
        " ORDER BY erased_at DESC, erasure_id",
        {"id": erasure_id},
    )
    return [
        msgspec.convert(dict(zip(Erasure.__struct_fields__, row, strict=True)), Erasure)
        for row in await cursor.fetchall()
    ]


def _plain(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, Actor) else value
