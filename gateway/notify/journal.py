"""What there is to tell a channel or a device: the next records of its tenant's log, from its place on.

Nothing is left out in silence. Records that the channel did not ask for are passed by number; where
records are not there any more, or are older than the backlog that is sent, the first message is a
`gap` that names the numbers, and the place moves past them only when the receiver has taken it.

A digest is the records of one window of so many minutes, by the time at which the log took them, which never
runs backwards within a log. A window that is over does not change, so the digest of it is the same at every
attempt and has the same id; only one that is over is sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from audit import ring
from audit.proving import commitment
from audit.record import time_ns, time_text
from gateway.admin.event_feed import Event
from gateway.admin.event_kinds import told
from gateway.events import envelope, is_failure, is_wanted, kinds_of, message_id
from gateway.notify.claims import Hold
from gateway.notify.device import Device
from gateway.notify.outcome import Digest, Gap, Message
from tenancy.database import Connection

WINDOW = 5_000
"""Records that one statement looks through, and that one digest is of at most."""
DIGEST_EVENTS_MOST = 20
SETTLED_S = 5.0
"""So long after a window's end its records are there: the recorder commits what it has numbered."""

_ENDS = "SELECT min(i), max(i) FROM audit_leaves WHERE log_id = %s AND i >= %s"
_RECORDED = """
SELECT convert_from(leaf, 'UTF8')::json ->> 'rt' FROM audit_leaves WHERE log_id = %s AND i = %s"""
_READ = """
SELECT v.i, v.leaf, p.payload FROM audit_leaves v LEFT JOIN audit_payloads p USING (log_id, i)
WHERE v.log_id = %s AND v.i BETWEEN %s AND %s
  AND convert_from(v.leaf, 'UTF8')::json ->> 'k' = ANY(%s)
ORDER BY v.i LIMIT %s"""


class Batch(msgspec.Struct, frozen=True):
    """Messages in the log's order. `through`: every record before it was looked at. `due`: when there is
    more to look at, where that is known."""

    messages: tuple[Message, ...]
    through: int
    due: datetime | None = None


class GapNotice(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a `gap` message."""

    id: str
    timestamp: str
    data: Gap
    type: str = "gap"


class DigestNotice(msgspec.Struct, frozen=True, kw_only=True):
    """The body of a `digest` message."""

    id: str
    timestamp: str
    data: Digest
    type: str = "digest"


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
    if hold.target.severity == "digest":
        return await _digest(conn, hold, start, end, now)
    rows = await _rows(conn, hold, start, end, most)
    through = rows[-1][0] + 1 if len(rows) == most else end + 1
    return Batch(tuple(_messages(hold, rows)), through)


async def _digest(conn: Connection, hold: Hold, start: int, end: int, now: datetime) -> Batch:
    """The digest of the window that the first record is in; nothing but `due`, while it goes on."""
    row = await (await conn.execute(_RECORDED, (hold.log_id, start))).fetchone()
    assert row is not None, "read() has seen the record"
    closes = window_end(row[0], hold.target.digest_minutes)
    due = closes + timedelta(seconds=SETTLED_S)
    if now < due:
        return Batch((), start, due)
    bound = time_text(int(closes.timestamp()) * 1_000_000_000)
    stop = await _first_since(conn, hold.log_id, start, end, bound)
    messages = _messages(hold, await _rows(conn, hold, start, stop - 1, WINDOW))
    events = [message.said for message in messages if isinstance(message.said, Event)]
    if not events:
        return Batch((), stop)
    data = digest_of(events, Gap(first=start, last=stop - 1, why=""), row[0], bound)
    name = f"{message_id(hold.origin, start)}-{stop - 1}-digest"
    body = msgspec.json.encode(DigestNotice(id=name, timestamp=bound, data=data))
    return Batch((Message(name, "digest", bound, body, stop, data),), stop)


def window_end(recorded: str, minutes: int) -> datetime:
    """When the window ends in which the log took a record. Windows begin at whole multiples since 1970."""
    length_s = minutes * 60
    begun = time_ns(recorded) // 1_000_000_000 // length_s
    return datetime.fromtimestamp((begun + 1) * length_s, UTC)


def digest_of(events: Sequence[Event], span: Gap, since: str, until: str) -> Digest:
    """How many of each kind, what somebody should look at, and of the rest the first."""
    failures = [event for event in events if is_failure(event)]
    others = [event for event in events if not is_failure(event)]
    return Digest(
        first=span.first,
        last=span.last,
        since=since,
        until=until,
        counts=dict(Counter(event.kind for event in events).most_common()),
        failures=len(failures),
        events=tuple((failures + others)[:DIGEST_EVENTS_MOST]),
    )


async def _rows(
    conn: Connection, hold: Hold, start: int, end: int, most: int
) -> list[tuple[int, bytes, bytes | None]]:
    """Leaves and payloads of the kinds among which is what the channel asked for."""
    target = hold.target
    kinds = kinds_of(target.events, failures_only=target.severity == "failures")
    cursor = await conn.execute(_READ, (hold.log_id, start, end, kinds, most), binary=True)
    rows = await cursor.fetchall()
    stored = [(payload, commitment(leaf)) for _, leaf, payload in rows]
    payloads = await ring.shown(hold.scope.tenant_id, stored)
    return [(row[0], row[1], payload) for row, payload in zip(rows, payloads, strict=True)]


def _messages(hold: Hold, rows: Sequence[tuple[int, bytes, bytes | None]]) -> list[Message]:
    target, messages = hold.target, []
    for index, leaf, payload in rows:
        made = envelope(hold.origin, index, leaf, payload)
        failures_only = target.severity == "failures"
        if made is None or not is_wanted(made.data, target.events, failures_only=failures_only):
            continue
        known = told(made.type)
        if isinstance(target, Device) and (known is None or not target.may(known.action)):
            continue
        body = msgspec.json.encode(made)
        messages.append(Message(made.id, made.type, made.timestamp, body, index + 1, made.data))
    return messages


def _gap(hold: Hold, gap: Gap, now: datetime) -> Message:
    timestamp = time_text(int(now.timestamp() * 1e9))
    notice = GapNotice(
        id=f"{message_id(hold.origin, gap.first)}-gap", timestamp=timestamp, data=gap
    )
    return Message(notice.id, "gap", timestamp, msgspec.json.encode(notice), gap.last + 1, gap)


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
