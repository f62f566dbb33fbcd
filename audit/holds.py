"""SQL of retention classes and legal holds, in the caller's tenant transaction.

A hold is placed and released by two people, as proposals (gateway/admin/audit_holds.py). One that waits
for its second person holds already: between the asking and the yes nothing may be shredded. So what holds
is the rows that are not released, and the proposals to place one that are open or approved for later.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from audit.retention import CLASSES, Scope, Term
from tenancy.database import Connection
from tenancy.errors import NotFound
from tenancy.scope import Actor, TenantScope

KIND = "audit_hold"
"""Of the proposals."""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """One that is, was, or (`approved_by` null) is asked for and holds meanwhile."""

    hold_id: UUID
    scope: Scope
    why: str
    placed_by: Actor
    placed_at: datetime
    approved_by: Actor | None = None
    released_by: Actor | None = None
    released_at: datetime | None = None


class Standing(msgspec.Struct, frozen=True):
    """A hold that covers records of a subject."""

    hold_id: UUID
    why: str


_TERMS = "SELECT cls, years, regimes FROM audit_retention"
_GROW = """
INSERT INTO audit_retention (tenant_id, cls, years, regimes, set_at) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (tenant_id, cls) DO UPDATE SET years = excluded.years, regimes = excluded.regimes,
    set_at = excluded.set_at"""
_LISTED = """
SELECT hold_id, subject, oid, acct, from_at, to_at, why, placed_by, placed_at, approved_by, released_by,
       released_at FROM audit_holds
UNION ALL
SELECT object_id::uuid, after ->> 'subject', after ->> 'oid', after ->> 'acct',
       (after ->> 'from_at')::timestamptz, (after ->> 'to_at')::timestamptz, comment, proposed_by, proposed_at,
       NULL, NULL, NULL FROM proposals WHERE kind = 'audit_hold' AND operation = 'create'
       AND state IN ('open', 'approved')
ORDER BY placed_at, hold_id"""
_STANDING = f"""
SELECT h.hold_id, h.why FROM ({_LISTED}) h
WHERE h.released_at IS NULL AND (h.subject IS NULL OR h.subject = %(subject)s) AND EXISTS (
    SELECT FROM audit_payloads p JOIN audit_leaves l USING (log_id, i),
         LATERAL (SELECT convert_from(l.leaf, 'UTF8')::json AS leaf) j
    WHERE p.subject = %(subject)s AND (h.oid IS NULL OR l.oid = h.oid)
      AND (h.acct IS NULL OR j.leaf ->> 'acct' = h.acct)
      AND (h.from_at IS NULL OR j.leaf ->> 'ts' >= audit_time_text(h.from_at))
      AND (h.to_at IS NULL OR j.leaf ->> 'ts' < audit_time_text(h.to_at)))"""  # noqa: S608
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('portcullis.evidence.' || %s::text, 0))"
_PLACE = """
INSERT INTO audit_holds (hold_id, tenant_id, subject, oid, acct, from_at, to_at, why, placed_by,
                         approved_by, placed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s)"""
_RELEASE = """
UPDATE audit_holds SET released_by = %s::jsonb, release_approved_by = %s::jsonb, released_at = %s
WHERE hold_id = %s AND released_at IS NULL"""


async def alone(conn: Connection, scope: TenantScope) -> None:
    """Nobody else places, releases, grows or shreds in this tenant until the transaction ends: who shreds
    sees every hold, or the hold is asked for after it."""
    await conn.execute(_ALONE, (scope.tenant_id,))


async def terms(conn: Connection) -> dict[str, Term]:
    """How long each class of the tenant is kept; those that nobody has set among them."""
    found: Mapping[str, Term] = {
        row[0]: Term(cls=row[0], years=row[1], regimes=tuple(row[2]))
        for row in await (await conn.execute(_TERMS)).fetchall()
    }
    return {**{cls: Term(cls=cls) for cls in CLASSES}, **found}


async def grow(conn: Connection, scope: TenantScope, term: Term, at: datetime) -> None:
    """Keep a class for so long from now on. The database refuses less than before."""
    values = (scope.tenant_id, term.cls, term.years, list(term.regimes), at)
    await conn.execute(_GROW, values)


async def listed(conn: Connection) -> list[Hold]:
    """Every hold of the tenant, oldest first: those that wait for their second person, and past ones."""
    return [
        Hold(
            hold_id=row[0], scope=Scope(subject=row[1], oid=row[2], acct=row[3], from_at=row[4], to_at=row[5]),
            why=row[6], placed_by=_actor(row[7]), placed_at=row[8],
            approved_by=_actor(row[9]) if row[9] else None,
            released_by=_actor(row[10]) if row[10] else None, released_at=row[11],
        )
        for row in await (await conn.execute(_LISTED)).fetchall()
    ]  # fmt: skip


async def standing(conn: Connection, subject: str) -> list[Standing]:
    """The holds that cover any record of the subject, or name it."""
    cursor = await conn.execute(_STANDING.encode(), {"subject": subject})
    covering = [Standing(*row) for row in await cursor.fetchall()]
    named = [
        Standing(hold.hold_id, hold.why)
        for hold in await listed(conn)
        if hold.released_at is None and hold.scope == Scope(subject=subject)
    ]
    return list({one.hold_id: one for one in (*covering, *named)}.values())


async def place(conn: Connection, scope: TenantScope, hold: Hold) -> None:
    """Both people have agreed."""
    what = hold.scope
    await conn.execute(_PLACE, (
        hold.hold_id, scope.tenant_id, what.subject, what.oid, what.acct, what.from_at, what.to_at,
        hold.why, _json(hold.placed_by), _json(hold.approved_by), hold.placed_at,
    ))  # fmt: skip


async def release(
    conn: Connection, hold_id: UUID, by: Actor, approved_by: Actor | None, at: datetime
) -> None:
    """Both people have agreed. Raises NotFound where there is no such hold that stands."""
    done = await conn.execute(_RELEASE, (_json(by), _json(approved_by), at, hold_id))
    if done.rowcount != 1:
        raise NotFound(f"there is no hold {hold_id} that stands")


def _actor(value: Any) -> Actor:
    return msgspec.convert(value, Actor)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
