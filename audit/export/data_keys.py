"""What an examiner needs to open sealed records: the subjects' wrapped keys, and the escrows that stand.

A wrapped key that goes out in a package cannot be destroyed there: erasing a subject afterwards does
not reach packages that were given out before. The log names each of them, in its `export` records.
"""

from __future__ import annotations

import base64
from collections.abc import Collection
from datetime import datetime
from typing import Any

import orjson

from tenancy.database import Connection

_WRAPPED = """
SELECT k.subject, k.version, k.wrapped FROM audit_data_keys k
JOIN unnest(%b::text[], %b::int[]) AS w (subject, version) USING (subject, version)
ORDER BY k.subject, k.version"""
_ESCROWS = """
SELECT escrow FROM audit_examiners WHERE ended_at IS NULL AND until > %b AND escrow IS NOT NULL
ORDER BY examiner_id"""


async def wrapped_keys(conn: Connection, names: Collection[tuple[str, int]]) -> bytes:
    """`keys.jsonl`: those of the keys that are not destroyed."""
    if not names:
        return b""
    subjects, versions = zip(*sorted(names), strict=True)
    cursor = await conn.execute(_WRAPPED, (list(subjects), list(versions)))
    return b"".join(
        orjson.dumps(
            {"subject": row[0], "version": row[1], "wrapped": base64.b64encode(row[2]).decode()},
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for row in await cursor.fetchall()
    )


async def escrows(conn: Connection, now: datetime) -> list[dict[str, Any]]:
    """The audit key, encrypted to each examiner whose time is not over."""
    cursor = await conn.execute(_ESCROWS, (now,))
    return [row[0] for row in await cursor.fetchall()]
