"""One tenant's audit log as it grows, read once for everybody who listens in this process.

The log is the truth: its records are numbered without a gap and appear in that order, so a listener who
remembers one number misses nothing and hears nothing twice. The number told is the log's length with the
record in it (leaf index + 1): 0 is before the first.

- While somebody listens, one query each POLL_S reads what is new. Nobody listens: nothing is read. No
  NOTIFY, which would make every committing order queue for one lock.
- A listener who begins in the past reads by itself until it is where the feed is, and joins then.
- What a listener has not taken is bounded. One who is too slow is told nothing more, gets what was kept
  for it and is sent away; it comes back with its last number.
- PostgreSQL away: nothing is told, and reading goes on from the same number.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
import structlog

from audit import record, ring
from audit.proving import commitment
from gateway.admin.event_kinds import Group, alert_of, facts, told
from tenancy.database import Connection, Database
from tenancy.errors import OutcomeUnknown, Unavailable
from tenancy.scope import TenantScope

log = structlog.get_logger()

POLL_S = 0.25
AWAY_S = 1.0
BATCH = 500
BUFFER_MAX = 1_000
"""Events that wait for one listener."""

_LOG = "SELECT log_id FROM audit_logs"
_END = "SELECT coalesce(max(i) + 1, 0) FROM audit_leaves WHERE log_id = %b"
_NEXT = """
SELECT v.i, v.leaf, p.payload FROM audit_leaves v
LEFT JOIN audit_payloads p ON p.log_id = v.log_id AND p.i = v.i
WHERE v.log_id = %b AND v.i >= %b ORDER BY v.i LIMIT %b"""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One record, as it is told. `id` is what to resume after. Where the content was erased, `facts` say
    so and which receipt tells why."""

    id: int
    index: int
    kind: str
    at: str
    groups: tuple[Group, ...]
    alert: str | None
    order_id: str | None
    account_id: str | None
    actor: Mapping[str, str]
    trace_id: str | None
    facts: Mapping[str, Any]


class Heard(msgspec.Struct, frozen=True):
    """A record's place, and the event that it is for those who may `action`; None for nobody."""

    id: int
    event: Event | None
    action: str = ""


def heard(index: int, leaf: bytes, payload: bytes | None) -> Heard:
    """What a row of the log says. Pure. Raises Malformed for what is no leaf."""
    members = record.read(leaf).members
    known = told(members["k"])
    if known is None:
        return Heard(index + 1, None)
    said = msgspec.json.decode(payload) if payload else {}
    alert = alert_of(members["k"], said)
    groups: tuple[Group, ...] = (known.group,)
    if alert is not None and known.group != "alert":
        groups = (known.group, "alert")
    event = Event(
        id=index + 1,
        index=index,
        kind=members["k"],
        at=members["ts"],
        groups=groups,
        alert=alert.name if alert is not None else None,
        order_id=members.get("oid"),
        account_id=members.get("acct"),
        actor=members["act"],
        trace_id=members.get("cor"),
        facts=said if is_erased(said) else facts(members["k"], said),
    )
    return Heard(index + 1, event, known.action)


def is_erased(said: Mapping[str, Any]) -> bool:
    """Whether that stands in place of a payload whose key was destroyed (audit/ring.py)."""
    return said.get("erased") is True and "k_rec" not in said


class Listener:
    """Somebody's place in the log, and what waits for them. Made by Feed.join()."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.waiting: deque[Heard] = deque()
        self.too_slow = False
        self.news = asyncio.Event()

    def offer(self, one: Heard) -> None:
        if one.id <= self.at or self.too_slow:
            return
        if one.event is not None and len(self.waiting) >= BUFFER_MAX:
            self.too_slow = True
        else:
            self.at = one.id
            if one.event is not None:
                self.waiting.append(one)
        self.news.set()


class Feed:
    """One tenant's log, read while somebody listens."""

    def __init__(self, database: Database, scope: TenantScope) -> None:
        self._database = database
        self._scope = scope
        self._log_id: UUID | None = None
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self.at = 0

    @property
    def idle(self) -> bool:
        return not self._listeners

    def join(self, at: int) -> Listener | None:
        """A listener who knows the log up to `at`; None where that is behind the feed: read() on first."""
        running = self._task is not None and not self._task.done()
        if running and at < self.at:
            return None
        listener = Listener(at)
        self._listeners.add(listener)
        if not running:
            self.at = at
            self._task = asyncio.create_task(self._run(), name="event-feed")
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    async def read(self, at: int) -> list[Heard]:
        """The next records after `at`, at most BATCH. Raises Unavailable."""
        async with self._database.tenant(self._scope) as conn:
            if self._log_id is None:
                self._log_id = await _log_of(conn)
            if self._log_id is None:
                return []
            cursor = await conn.execute(_NEXT, (self._log_id, at, BATCH), binary=True)
            rows = await cursor.fetchall()
        stored = [(payload, commitment(leaf)) for _, leaf, payload in rows]
        payloads = await ring.shown(self._scope.tenant_id, stored)
        return [
            heard(index, leaf, payload)
            for (index, leaf, _), payload in zip(rows, payloads, strict=True)
        ]

    async def _run(self) -> None:
        while True:
            try:
                records = await self.read(self.at)
            except (Unavailable, OutcomeUnknown) as error:
                log.warning("event_feed_away", why=str(error))
                await asyncio.sleep(AWAY_S)
                continue
            except Exception as error:
                # A record that cannot be read stays unread: nobody hears anything past it, and the log says so.
                log.error("event_feed_stuck", at=self.at, why=repr(error))
                await asyncio.sleep(AWAY_S)
                continue
            for one in records:
                self.at = one.id
                for listener in self._listeners:
                    listener.offer(one)
            if len(records) < BATCH:
                await asyncio.sleep(POLL_S)


async def _log_of(conn: Connection) -> UUID | None:
    row = await (await conn.execute(_LOG)).fetchone()
    return None if row is None else row[0]


async def end_of_log(conn: Connection) -> int:
    """How many records the tenant's log has; 0 where it has none."""
    log_id = await _log_of(conn)
    if log_id is None:
        return 0
    row = await (await conn.execute(_END, (log_id,))).fetchone()
    assert row is not None
    return int(row[0])
