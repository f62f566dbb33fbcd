"""Write signals as rows: one statement for a batch, and only what was not there."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from gateway.hooks.incoming import Incoming
from tenancy.database import Connection

_INSERT = """
    INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part, ticker, body,
                         body_sha256, traceparent, received_at, not_before)
    SELECT * FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::smallint[],
                         %b::text[], %b::bytea[], %b::bytea[], %b::text[], %b::timestamptz[],
                         %b::timestamptz[])
    ON CONFLICT (hook_id, message_id) DO NOTHING
    RETURNING signal_id
"""


async def insert(conn: Connection, rows: Sequence[Incoming]) -> set[UUID]:
    """Insert, and return which are new: a hook and message id are one row, whoever came first."""
    cursor = await conn.execute(
        _INSERT,
        (
            [row.signal_id for row in rows],
            [row.tenant_id for row in rows],
            [row.strategy_id for row in rows],
            [row.hook_id for row in rows],
            [row.message_id for row in rows],
            [row.part for row in rows],
            [row.ticker for row in rows],
            [row.body for row in rows],
            [row.body_sha256 for row in rows],
            [row.traceparent for row in rows],
            [row.received_at for row in rows],
            [row.not_before for row in rows],
        ),
        binary=True,
    )
    return {row[0] for row in await cursor.fetchall()}
