"""What came before: the same message id, or for senders without ids the same body within its window.

`within_windows` is asked before anything is inserted, `first_ones` after: then the unique index
has said that somebody was first. Both run in the batch's own transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from uuid import UUID

from gateway.hooks.incoming import Incoming, Kept
from tenancy.database import Connection
from tenancy.values import SignalID

_FIRSTS = """
    SELECT s.hook_id, s.message_id, s.signal_id, s.body_sha256, s.traceparent
    FROM unnest(%b::text[], %b::text[]) AS asked (hook_id, message_id)
    JOIN signals s USING (hook_id, message_id)
"""
_LOCK_BODIES = """
    SELECT pg_advisory_xact_lock(key) FROM (SELECT unnest(%b::bigint[]) AS key ORDER BY 1) AS keys
"""
_WITHIN = """
    SELECT asked.hook_id, asked.now, s.signal_id, s.traceparent
    FROM unnest(%b::text[], %b::text[], %b::text[], %b::timestamptz[]) AS asked (hook_id, before, now, since)
    JOIN signals s ON s.hook_id = asked.hook_id AND s.message_id IN (asked.before, asked.now)
                  AND s.received_at > asked.since
"""


async def within_windows(conn: Connection, rows: Sequence[Incoming]) -> dict[SignalID, Kept]:
    """Which of these came before, in the database or earlier in `rows`. Each of them has a window.

    The locks are held to the commit, so of two processes with one body the second sees the first.
    """
    await conn.execute(_LOCK_BODIES, (sorted({_body_key(row) for row in rows}),))
    asked = [(row.hook_id, row.window) for row in rows if row.window is not None]
    found = await conn.execute(
        _WITHIN,
        (
            [hook for hook, _ in asked],
            [window.before for _, window in asked],
            [window.message_id for _, window in asked],
            [window.since for _, window in asked],
        ),
        binary=True,
    )
    earlier = {
        (row[0], row[1]): Kept(SignalID(row[2]), row[3], True) for row in await found.fetchall()
    }
    again: dict[SignalID, Kept] = {}
    firsts: dict[int, Incoming] = {}
    for row in rows:
        assert row.window is not None
        kept = earlier.get((row.hook_id, row.window.message_id))
        first = firsts.setdefault(_body_key(row), row)
        if kept is None and first is not row:
            kept = Kept(first.signal_id, first.traceparent, True)
        if kept is not None:
            again[row.signal_id] = kept
    return again


async def first_ones(
    conn: Connection, rows: Sequence[Incoming]
) -> dict[tuple[str, str], tuple[UUID, bytes, str]]:
    cursor = await conn.execute(
        _FIRSTS, ([r.hook_id for r in rows], [r.message_id for r in rows]), binary=True
    )
    return {(r[0], r[1]): (r[2], bytes(r[3]), r[4]) for r in await cursor.fetchall()}


def _body_key(incoming: Incoming) -> int:
    """The number of this body's lock, as PostgreSQL's bigint."""
    digest = hashlib.sha256(incoming.hook_id.encode() + incoming.body_sha256).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
