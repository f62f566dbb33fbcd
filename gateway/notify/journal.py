"""What there is to tell a channel: the next records of its tenant's log, from its place on.

Nothing is left out in silence. Records that the channel did not ask for are passed by number; where
records are not there any more, or are older than the backlog that is sent, the first message is a
`gap` that names the numbers, and the place moves past them only when the receiver has taken it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from audit import ring
from audit.proving import commitment
from audit.record import time_text
from gateway.events import envelope, is_wanted, kinds_of, message_id
from gateway.notify.claims import Hold
from gateway.notify.outcome import Message
from tenancy.database import Connection

WINDOW = 5_000
"""Records that one statement looks through."""

_ENDS = "SELECT min(i), max(i) FROM audit_leaves WHERE log_id = %s AND i >= %s"
_RECORDED = """
SELECT convert_from(leaf, 'UTF8')::json ->> 'rt' FROM audit_leaves WHERE log_id = %s AND i = %s"""
_READ = """
SELECT v.i, v.leaf, p.payload FROM audit_leaves v LEFT JOIN audit_payloads p USING (log_id, i)
WHERE v.log_id = %s AND v.i BETWEEN %s AND %s
  AND convert_from(v.leaf, 'UTF8')::json ->> 'k' = ANY(%s)
ORDER BY v.i LIMIT %s"""


class Batch(msgspec.Struct, frozen=True):
    """Messages in the log's order. `through`: every record before it was looked at."""

    messages: tuple[Message, ...]
    through: int


class Gap(msgspec.Struct, frozen=True, kw_only=True, rename={"first": "from", "last": "to"}):
    """The records from `from` to `to`, both included, are not sent."""

    first: int
    last: int
    why: str


class GapNotice(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a `gap` message."""

    id: str
    timestamp: str
    data: Gap
    type: str = "gap"


async def read(
    conn: Connection, hold: Hold, *, most: int, now: datetime, backlog_s: float
) -> Batch:
    """The next messages, `most` at most. Nothing there and `through` unmoved: the log ends here."""
    start = hold.next_index
    row = await (await conn.execute(_ENDS, (hold.log_id, start))).fetchone()
    if row is None or row[0] is None:
        return Batch((), start)
    first, last = row
    oldest = time_text(int((now.timestamp() - backlog_s) * 1e9))
    wanted = await _first_since(conn, hold.log_id, first, last, oldest)
    if wanted > start:
        why = "the records are not kept any more" if wanted == first else "older than the backlog"
        return Batch((_gap(hold, Gap(first=start, last=wanted - 1, why=why), now),), start)
    end = min(last, start + WINDOW - 1)
    channel = hold.channel
    kinds = kinds_of(channel.events, failures_only=channel.severity == "failures")
    rows = await (
        await conn.execute(_READ, (hold.log_id, start, end, kinds, most), binary=True)
    ).fetchall()
    through = rows[-1][0] + 1 if len(rows) == most else end + 1
    stored = [(payload, commitment(leaf)) for _, leaf, payload in rows]
    payloads = await ring.shown(hold.scope.tenant_id, stored)
    opened = [(row[0], row[1], payload) for row, payload in zip(rows, payloads, strict=True)]
    return Batch(_messages(hold, opened), through)


def _messages(hold: Hold, rows: Sequence[tuple[int, bytes, bytes | None]]) -> tuple[Message, ...]:
    channel, messages = hold.channel, []
    for index, leaf, payload in rows:
        made = envelope(hold.origin, index, leaf, payload)
        failures_only = channel.severity == "failures"
        if made is None or not is_wanted(made.data, channel.events, failures_only=failures_only):
            continue
        body = msgspec.json.encode(made)
        messages.append(Message(made.id, made.type, made.timestamp, body, index + 1))
    return tuple(messages)


def _gap(hold: Hold, gap: Gap, now: datetime) -> Message:
    timestamp = time_text(int(now.timestamp() * 1e9))
    notice = GapNotice(
        id=f"{message_id(hold.origin, gap.first)}-gap", timestamp=timestamp, data=gap
    )
    return Message(notice.id, "gap", timestamp, msgspec.json.encode(notice), gap.last + 1)


async def _first_since(conn: Connection, log_id: UUID, first: int, last: int, oldest: str) -> int:
    """The first record from `first` on that the log took at `oldest` or later; last + 1: none.

    Recording time never runs backwards within a log (audit/sequencer.py), so halving finds it.
    """
    low, high = first, last + 1
    probe = first  # nearly always it
    while low < high:
        row = await (await conn.execute(_RECORDED, (log_id, probe))).fetchone()
        if row is None or row[0] < oldest:
            low = probe + 1
        else:
            high = probe
        probe = (low + high) // 2
    return low
