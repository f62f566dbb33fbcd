"""The continuous check: rows, tiles, copies, counts and order heads of every log, round after round.

PostgreSQL fences its rows, and a superuser passes every fence; a disk forgets. Nobody notices until
somebody reads. So this reads, slowly and all the time, in the recorder's process:

1. Open each copy's checkpoint, then read the one that PostgreSQL kept: it may be ahead, never behind.
2. Compare sizes: nothing that was ever published may be gone.
3. Take the next bundles' rows and compare them with each copy (audit/checking.py); at the round's end
   the tiles of the right edge, and what lies in the tables above the last row.
4. What differs becomes a metric, a log line, and an `alert` record in the log itself, once while it
   lasts (and once more after a restart); then the position is kept, in the same transaction.

*Crash before 4: the same bundles again. After: the next ones.* A round begins at index 0 without any
memory but the sizes seen, so a position that somebody moved hides nothing for longer than a round.
A copy that cannot be asked (CopyAway) is left out of the step; when each was last compared is a metric.
Not checked here: what a payload says (it is sealed; its row's being there is), and records that no
checkpoint covers yet (only that their rows have no gap).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import psycopg
import structlog

from audit import metrics
from audit.checking import (
    DATABASE,
    CopyAway,
    Difference,
    Row,
    State,
    Walk,
    compare_heads,
    from_json,
    open_copy,
    to_json,
)  # fmt: skip
from audit.inbox import Entry, append
from audit.logs import Log, Signed, read_logs, read_signed
from audit.record import Kind
from audit.threads import in_thread
from audit.tiles import WIDTH, Read
from tenancy.clock import Clock
from tenancy.database import Connection, Database
from tenancy.errors import OutcomeUnknown, Unavailable
from tenancy.pause import pause
from tenancy.scope import Actor

STEP_BUNDLES = 4
"""Bundles in one step: some thousand records, a few hundredths of a second."""
RESTS = 9
"""How many times as long as it worked it rests: PostgreSQL and the recorder are there for the orders."""
IDLE_S = 5.0
"""How long it rests where there is no log yet, or after something was away."""

ACTOR = Actor(kind="sys", id="checker")
Copies = Callable[[Log], Mapping[str, Read]]
"""A log's copies by name: how each is read."""

log_event = structlog.get_logger()

_ROWS = """
SELECT v.i, v.leaf, v.leaf_hash, v.oid, v.tenant_id, p.i IS NOT NULL, b.leaf_hash, n.i IS NULL, h.n, h.leaf_hash
FROM audit_leaves v
LEFT JOIN audit_payloads p ON p.log_id = v.log_id AND p.i = v.i
LEFT JOIN LATERAL (SELECT w.leaf_hash FROM audit_leaves w WHERE w.log_id = v.log_id AND w.oid = v.oid
                   AND w.i < v.i ORDER BY w.i DESC LIMIT 1) b ON true
LEFT JOIN LATERAL (SELECT w.i FROM audit_leaves w WHERE w.log_id = v.log_id AND w.oid = v.oid
                   AND w.i > v.i ORDER BY w.i LIMIT 1) n ON true
LEFT JOIN audit_order_heads h ON h.log_id = v.log_id AND h.oid = v.oid
WHERE v.log_id = %b AND v.i >= %b AND v.i < %b ORDER BY v.i"""

_ABOVE = """
SELECT coalesce(max(v.i) + 1, 0), (SELECT min(p.i) FROM audit_payloads p WHERE p.log_id = %(log)s
           AND NOT EXISTS (SELECT FROM audit_leaves w WHERE w.log_id = p.log_id AND w.i = p.i)
           AND p.i >= %(from)s),
       (SELECT min(u.i) FROM audit_leaves u WHERE u.log_id = %(log)s AND u.i >= %(from)s AND u.i > 0
           AND NOT EXISTS (SELECT FROM audit_leaves w WHERE w.log_id = u.log_id AND w.i = u.i - 1))
FROM audit_leaves v WHERE v.log_id = %(log)s"""

_KEEP = """
INSERT INTO audit_checks (log_id, next_index, state, rounds, round_at, found_index, found, found_at, moved_at)
VALUES (%(log)s, %(next)s, %(state)s, %(ended)s::int, CASE WHEN %(ended)s THEN now() END, %(index)s::bigint,
        %(found)s::text, CASE WHEN %(found)s::text IS NOT NULL THEN now() END, now())
ON CONFLICT (log_id) DO UPDATE SET next_index = excluded.next_index, state = excluded.state,
    rounds = audit_checks.rounds + excluded.rounds, round_at = coalesce(excluded.round_at, audit_checks.round_at),
    found_index = excluded.found_index, found = excluded.found, moved_at = now(),
    found_at = CASE WHEN excluded.found IS NOT DISTINCT FROM audit_checks.found THEN audit_checks.found_at
                    ELSE excluded.found_at END"""


class Step(msgspec.Struct, frozen=True):
    """What one step found, and where the next goes on. `ended`: it was the last of its round."""

    state: State
    found: Sequence[Difference]
    records: int
    ended: bool


class Round(msgspec.Struct):
    """What is known of the round under way: its first difference, and the round's before it."""

    first: Difference | None = None
    before: Difference | None = None


class Checker:
    """Checks all logs of one database against their copies, `records_per_s` and a tenth of the time at most."""

    def __init__(
        self, database: Database, copies: Copies, clock: Clock, *, records_per_s: int = 5000,
        term: Callable[[], int] = lambda: 1,
    ) -> None:  # fmt: skip
        """`database` under the role portcullis_recorder. `term` is Recorder.term: of several hosts' checks
        one works, beside the recorder that writes, and goes on where another's ended."""
        self._database, self._copies, self._clock = database, copies, clock
        self._records_per_s = records_per_s
        self._term = term
        self._rounds: dict[Any, Round] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Check until `stop`. Whatever is away is waited for; nothing here stops the recorder."""
        while not stop.is_set():
            wait_s = IDLE_S
            try:
                if self._term():
                    wait_s = await self._once(stop)
            except (Unavailable, OutcomeUnknown, psycopg.Error, OSError) as error:
                log_event.warning("audit_check_waits", why=str(error))
            await pause(stop, wait_s)

    async def check(self, log: Log) -> list[Difference]:
        """One whole round of this log from index 0, now; nothing is kept. For the operator's command."""
        found: list[Difference] = []
        step = Step(State(), (), 0, False)
        while not step.ended:
            step = await self._step(log, step.state)
            found += step.found
        return sorted(set(found), key=lambda one: one.index)

    async def _once(self, stop: asyncio.Event) -> float:
        """One step of each log; how long to rest afterwards."""
        began = time.monotonic()
        async with self._database.connection() as conn:
            logs = await read_logs(conn)
        records = 0
        for log in logs:
            if stop.is_set():
                break
            step = await self._step(log, await self._resume(log))
            await self._tell(log, step)
            records += step.records
        metrics.CHECK_DIFFERENCES.set(
            sum(one is not None for one in map(_standing, self._rounds.values()))
        )
        spent = time.monotonic() - began
        if not records:
            return IDLE_S
        return max(0.05, RESTS * spent, records / self._records_per_s - spent)

    async def _step(self, log: Log, state: State) -> Step:
        """Steps 1 to 3 for the next bundles of this log. Raises Unavailable, psycopg.Error."""
        copies = dict(self._copies(log))
        while True:
            try:
                step = await self._compare(log, state, copies)
            except CopyAway as error:
                log_event.warning("audit_copy_away", log_id=str(log.log_id), why=str(error))
                del copies[error.name]
                continue
            for name in copies:
                metrics.COPY_CHECKED.labels(name).set_to_current_time()
            return step

    async def _compare(self, log: Log, state: State, copied: Mapping[str, Read]) -> Step:
        state = State(state.edges, state.size, dict(state.seen))  # if a copy is away: as it was
        opened = await in_thread(_open_copies, log, copied)  # step 1
        copies = [copy for copy, _ in opened]
        found = [wrong for _, wrong in opened if wrong is not None]
        async with self._database.connection() as conn:
            kept = await read_signed(conn, log)
            size = 0 if kept is None else kept.size
            tail = await _above(conn, log, size, found)
            if kept is None or state.size > size:
                state = State([], 0, state.seen)
            found += compare_heads(state, copies, kept, tail)  # step 2
            if kept is None:
                return Step(state, found, 0, True)
            end = min(size, state.size + STEP_BUNDLES * WIDTH)
            rows = await _rows(conn, log, state.size, end)
            checkpoints = await _checkpoints(conn, log, state.size, end)
            walk = Walk(log, state, copies, kept, checkpoints, tail)
        next_state = await in_thread(_walk, walk, rows, end, size, state)  # step 3
        return Step(next_state, [*found, *walk.found], end - state.size, end == size)

    async def _resume(self, log: Log) -> State:
        async with self._database.connection() as conn:
            cursor = await conn.execute(
                "SELECT state FROM audit_checks WHERE log_id = %s", (log.log_id,)
            )
            row = await cursor.fetchone()
        try:
            return State() if row is None else from_json(row[0])
        except ValueError as error:
            log_event.warning("audit_check_begins_anew", log_id=str(log.log_id), why=str(error))
            return State()

    async def _tell(self, log: Log, step: Step) -> None:
        """Step 4."""
        here = self._rounds.setdefault(log.log_id, Round())
        known = _standing(here)
        for one in step.found:
            if here.first is None or one.index < here.first.index:
                here.first = one
        new = here.first if here.first is not None and here.first != known else None
        if new is not None and known is not None and new.index >= known.index:
            new = None  # the smaller one stands until a round has passed without it
        async with self._database.shared() as conn:
            if new is not None:
                log_event.error(
                    "audit_differs", log_id=str(log.log_id), **msgspec.structs.asdict(new)
                )
                await append(conn, [(log.tenant_id, self._alert(log, new))])
            if step.ended:
                here.before, here.first = here.first, None
            await self._keep(conn, log, step, _standing(here))
        metrics.CHECKED.inc(step.records)
        if step.ended:
            metrics.CHECK_ROUNDS.inc()

    def _alert(self, log: Log, one: Difference) -> Entry:
        payload = {
            "event": "audit_differs", "alert": "audit_differs", "log": log.origin,
            "index": one.index, "where": one.where, "what": one.what,
        }  # fmt: skip
        return Entry(
            kind=Kind.ALERT, ts_ns=self._clock.now_ns(), payload=payload, actor=ACTOR, cls="admin"
        )

    async def _keep(
        self, conn: Connection, log: Log, step: Step, standing: Difference | None
    ) -> None:
        state = State([], 0, step.state.seen) if step.ended else step.state
        values = {
            "log": log.log_id, "next": state.size, "ended": step.ended,
            "state": msgspec.json.encode(to_json(state)).decode(),
            "index": None if standing is None else standing.index,
            "found": None if standing is None else str(standing),
        }  # fmt: skip
        await conn.execute(_KEEP, values)


def _standing(here: Round) -> Difference | None:
    """The first difference that is there, as far as a round and this one's beginning tell."""
    found = [one for one in (here.first, here.before) if one is not None]
    return min(found, key=lambda one: one.index, default=None)


def _open_copies(log: Log, copies: Mapping[str, Read]) -> list[Any]:
    return [open_copy(log, name, read) for name, read in copies.items()]


def _walk(walk: Walk, rows: Sequence[Row], end: int, size: int, state: State) -> State:
    saved = state
    for start in range(state.size, end, WIDTH):
        stop = min(start + WIDTH, end)
        walk.take([row for row in rows if start <= row.i < stop])
        if walk.size % WIDTH == 0:
            saved = walk.save(state)
    if end == size:
        walk.end()
    return saved


async def _above(conn: Connection, log: Log, size: int, found: list[Difference]) -> int:
    """How many rows there are; finds gaps and lone payloads among those without a checkpoint."""
    cursor = await conn.execute(_ABOVE, {"log": log.log_id, "from": size})
    row = await cursor.fetchone()
    assert row is not None
    rows, lone_payload, after_gap = row
    if lone_payload is not None:
        found.append(Difference(lone_payload, DATABASE, "there is a payload, and no row"))
    if after_gap is not None:
        found.append(Difference(after_gap - 1, DATABASE, "there is no row"))
    return int(rows)


async def _rows(conn: Connection, log: Log, start: int, end: int) -> list[Row]:
    cursor = await conn.execute(_ROWS, (log.log_id, start, end), binary=True)
    return [Row(*row) for row in await cursor.fetchall()]


async def _checkpoints(conn: Connection, log: Log, start: int, end: int) -> dict[int, Signed]:
    cursor = await conn.execute(
        "SELECT size, root, note FROM audit_checkpoints WHERE log_id = %s AND size > %s AND size <= %s",
        (log.log_id, start, end),
    )
    return {row[0]: Signed(row[0], row[1], row[2].encode()) for row in await cursor.fetchall()}
