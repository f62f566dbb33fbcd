"""The product's Database over real connections that a simulation can break at any statement.

A statement is sent and answered while simulated time stands still; before and after it time passes
(`latency`), and there the connection may be lost: before it was sent, or after it was done and before
its answer came. One statement runs at a time, so their order is the loop's order. One that waits for a
lock is set aside (PostgreSQL says that it waits, nobody guesses by a time-out), and looked at again
whenever another ends that may have held it. Its server process is stopped meanwhile, and those that may go on
at the same moment are let go one after the other: else they would race for the same row in the machine's time.
Before it is stopped it has looked for a deadlock, so the victim is always who closes the circle.

Real sessions are kept and used again, also by the next seed: what a lost or dead session left open is
rolled back, as PostgreSQL does by itself. Who still holds the old object finds it broken.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import select
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import psycopg
from psycopg import pq
from psycopg_pool import PoolTimeout

from ops.sim import wire
from ops.sim.loop import Host, SimulatedLoop
from ops.sim.postgres import TIMES
from tenancy.database import Database

IDLE = pq.TransactionStatus.IDLE
_TIMED = r"""
SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
AND prosrc ~ '\m(now|clock_timestamp|transaction_timestamp|statement_timestamp)\('"""
BEGIN = b"BEGIN"


class Connection(psycopg.AsyncConnection[Any]):
    """One session, as its user sees it. `lost` once and for ever."""

    store: Store
    host: Host | None = None
    lost: str = ""
    turn = 0
    """The how many-th to be taken in its seed: sessions are gone through in that order, because a server's
    process number tells of the seeds before."""
    looked = False
    """Whether its server process waits for a lock and found no deadlock when it looked for one."""
    asks_time = False
    """Whether the statement under way reads the time: outside a transaction it is told just before it."""

    def __del__(self, _warn: Any = None) -> None: ...

    @property
    def closed(self) -> bool:
        return bool(self.lost) or super().closed

    async def close(self) -> None:
        self.lost = self.lost or "closed"

    async def execute(self, query: Any, params: Any = None, **more: Any) -> Any:
        if isinstance(query, bytes) and query.startswith(BEGIN):
            query += f"; SET LOCAL simulated.now = '{self.store.now()}'".encode()
        self.asks_time = self.store.asks_time(query)
        commits = query == "COMMIT"
        if commits:
            await self._point("before commit")
        result = await super().execute(query, params, **more)
        if commits:
            await self._point("after commit")
        return result

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Any]:
        """One statement after the other: a server works through a real one in its own time, beside
        whatever other sessions do meanwhile, and two runs of a seed would not be the same."""
        yield None

    async def _point(self, name: str) -> None:
        """Where something may be waiting to happen."""
        if self.host is not None and self.store.point(name, self.host, self):
            await asyncio.sleep(0)  # a dead host comes no further, a frozen one stays here
        self._still_there(None)

    async def wait(self, gen: Any, interval: float = 0.0, timeout: float | None = None) -> Any:
        """What psycopg awaits for each exchange with the server."""
        store = self.store
        try:
            await asyncio.sleep(store.latency())
        except BaseException:
            gen.close()
            raise
        self._still_there(gen)
        result = await store.run(self, gen)
        if store.chance.random() < 0.5:
            await asyncio.sleep(store.latency())
            self._still_there(None)
        return result

    def _still_there(self, gen: Any) -> None:
        if not self.lost:
            return
        if gen is not None:
            gen.close()
        raise psycopg.OperationalError(f"the connection is lost: {self.lost}")


class Pool:
    """What Database needs of psycopg_pool's pool: at most `size` connections at once, in turn."""

    def __init__(self, store: Store, role: str, host: Host | None, size: int) -> None:
        self._store, self._role, self._host = store, role, host
        self._free = asyncio.Semaphore(size)
        self.wait_s = 5.0

    async def open(self, wait: bool = True, timeout: float = 10.0) -> None:
        await self._store.there(timeout)

    async def close(self) -> None: ...

    def get_stats(self) -> dict[str, Any]:
        return {}

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        try:
            async with asyncio.timeout(self.wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise PoolTimeout("no connection came free") from None
        try:
            await self._store.there(self.wait_s)
            conn = self._store.take(self._role, self._host)
            try:
                yield conn
            finally:
                self._store.give_back(conn)
        finally:
            self._free.release()


class SimulatedDatabase(Database):
    """The product's, with another pool below it."""

    def __init__(self, store: Store, role: str, host: Host | None, size: int = 6) -> None:
        self._fresh = None
        self._pool: Any = Pool(store, role, host, size)

    _is_gone = staticmethod(lambda conn: False)  # a session that was cut is found out by using it


class Store:
    """All sessions of one cluster, and what becomes of them in the seed that runs."""

    def __init__(self, conninfo: Any, superuser: str) -> None:
        """`conninfo(role)`: how a role connects."""
        self._conninfo = conninfo
        self._spare: dict[str, list[Connection]] = {}
        self._taken: set[Connection] = set()
        self._blocked: deque[tuple[Connection, asyncio.Future[None]]] = deque()
        self.monitor = psycopg.connect(superuser, autocommit=True, prepare_threshold=0)
        self.monitor.execute("SET simulated.now = '2026-03-02 12:00:00+00'")
        timed = [row[0] for row in self.monitor.execute(_TIMED).fetchall()]
        self._times = re.compile(rf"\b({'|'.join((*TIMES, *timed))})\(")
        self._asks: dict[Any, bool] = {}
        self.begin(SimulatedLoop(), Random(0))

    def begin(self, loop: SimulatedLoop, chance: Random) -> None:
        """A new seed: every session is clean and spare."""
        for conn in self.sessions():
            self.lose(conn, "the seed is over")
        self._blocked.clear()
        self._turns = 0
        self.loop, self.chance = loop, chance
        self.point: Callable[[str, Host, Connection], bool] = lambda name, host, conn: False
        self.away = False
        self._back = asyncio.Event()
        self.history = hashlib.sha256()
        self.statements = 0

    def close(self) -> None:
        self.begin(SimulatedLoop(), Random(0))
        for conns in self._spare.values():
            for conn in conns:
                conn.pgconn.finish()
        self.monitor.close()

    def now(self) -> str:
        return self.loop.utc().isoformat()

    def latency(self) -> float:
        """Seconds on the way to PostgreSQL or back."""
        return 0.0002 + self.chance.random() * 0.002

    def asks_time(self, query: Any) -> bool:
        """Whether a statement reads now() or calls a function of ours that does."""
        if query not in self._asks:
            text = query.decode() if isinstance(query, bytes) else str(query)
            self._asks[query] = self._times.search(text) is not None
        return self._asks[query]

    # -------------------------------------------------------------- sessions

    async def there(self, timeout_s: float) -> None:
        """Return when PostgreSQL takes connections. Raises PoolTimeout."""
        if not self.away:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._back.wait()
        except TimeoutError:
            raise PoolTimeout("PostgreSQL is away") from None

    def go_away(self) -> None:
        """As when it is stopped: every session ends."""
        self.away = True
        self._back = asyncio.Event()
        for conn in self.sessions():
            self.lose(conn, "PostgreSQL is away")

    def come_back(self) -> None:
        self.away = False
        self._back.set()

    def sessions(self, host: Host | None = None) -> list[Connection]:
        """Those in use, of one host or of all, in a fixed order."""
        found = [c for c in self._taken if host is None or c.host is host]
        return sorted(found, key=lambda conn: conn.turn)

    def take(self, role: str, host: Host | None) -> Connection:
        spare = self._spare.setdefault(role, [])
        conn = spare.pop() if spare else self._connect(role)
        conn.host = host
        self._turns += 1
        conn.turn = self._turns
        self._taken.add(conn)
        return conn

    def give_back(self, conn: Connection) -> None:
        if conn not in self._taken:
            return  # it was lost, and its session is in other hands
        if conn.lost or conn.pgconn.transaction_status != IDLE:
            self.lose(conn, conn.lost or "returned in a transaction")
            return
        self._taken.discard(conn)
        self._spare[conn.info.user.removeprefix("portcullis_")].append(conn)

    def lose(self, conn: Connection, why: str) -> None:
        """Its user finds it broken; PostgreSQL rolls back what it had not committed."""
        if conn not in self._taken:
            return
        conn.lost = why
        self._taken.discard(conn)
        for item in [item for item in self._blocked if item[0] is conn]:
            self._give_up(item)
            if not item[1].done():
                item[1].set_result(None)
        if conn.pgconn.transaction_status != IDLE:
            conn.pgconn.exec_(b"ROLLBACK")
        again = self._wrapped(conn.pgconn)
        again._prepared = conn._prepared
        self._spare[again.info.user.removeprefix("portcullis_")].append(again)
        self._look_at_blocked()

    def _connect(self, role: str) -> Connection:
        pgconn = pq.PGconn.connect(self._conninfo(role).encode())
        if pgconn.status != pq.ConnStatus.OK:
            raise psycopg.OperationalError(pgconn.error_message.decode())
        pgconn.exec_(b"SET idle_in_transaction_session_timeout = 0")
        pgconn.nonblocking = 1
        return self._wrapped(pgconn)

    def _wrapped(self, pgconn: Any) -> Connection:
        conn = Connection(pgconn)
        conn._autocommit = True
        conn.prepare_threshold = 1
        conn.prepared_max = None
        conn.store = self
        conn.add_notice_handler(lambda said: wire.note_wait(conn, said.message_primary or ""))
        return conn

    # -------------------------------------------------------------- statements

    async def run(self, conn: Connection, gen: Any) -> Any:
        """One exchange with the server; simulated time passes only while it waits for a lock."""
        self.statements += 1
        pgconn = conn.pgconn
        told = conn.asks_time and pgconn.transaction_status == IDLE
        if told:
            pgconn.exec_(f"SET simulated.now = '{self.now()}'".encode())
        poll = select.poll()
        try:
            wants = next(gen)
            while True:
                ready = wire.poll(poll, pgconn.socket, wants, wire.LOOK_MS)
                if not ready and conn.looked and self._waits(conn):
                    await self._set_aside(conn)
                    ready = 1  # its answer is read already (_answered)
                if ready:
                    wants = gen.send(ready)
        except StopIteration as done:
            self._note(conn, done.value)
            return done.value
        finally:
            if told and pgconn.transaction_status == IDLE:
                pgconn.exec_(b"RESET simulated.now")  # whoever asks and was not seen to ask, fails
            if self._blocked and pgconn.transaction_status == IDLE:
                self._look_at_blocked()

    def _note(self, conn: Connection, value: Any) -> None:
        host = conn.host.name if conn.host else "-"
        results = value if isinstance(value, list) else []
        said = [
            (r.command_status, r.ntuples) if isinstance(r, pq.PGresult) else str(type(r))
            for r in results
        ]
        self.history.update(f"{self.loop.time():.6f} {host} {said}\n".encode())

    def _waits(self, conn: Connection) -> bool:
        cursor = self.monitor.execute(
            "SELECT pg_blocking_pids(%s)", (conn.pgconn.backend_pid,), prepare=True
        )
        row = cursor.fetchone()
        return bool(row and row[0])

    async def _set_aside(self, conn: Connection) -> None:
        """Until somebody else's end has let it go on."""
        future: asyncio.Future[None] = self.loop.create_future()
        item = (conn, future)
        self._blocked.append(item)
        wire.stand(conn)
        try:
            await future
        except asyncio.CancelledError:
            if item in self._blocked:
                self._give_up(item)
            elif not conn.lost:
                wire.drain(conn)  # it has its answer, and nobody will read it
            raise
        if conn.lost:
            raise psycopg.OperationalError(f"the connection is lost: {conn.lost}")

    def _give_up(self, item: tuple[Connection, asyncio.Future[None]]) -> None:
        """What waits is cancelled."""
        self._blocked.remove(item)
        wire.go_on(item[0])
        item[0].pgconn.get_cancel().cancel()
        wire.drain(item[0])

    def _look_at_blocked(self) -> None:
        """Those that have their lock go on, in the order in which they came."""
        for item in list(self._blocked):
            if item not in self._blocked or self._waits(item[0]):
                continue
            wire.go_on(item[0])
            if self._answered(item[0]):
                self._blocked.remove(item)
                if not item[1].done():
                    item[1].set_result(None)
            else:
                wire.stand(item[0])

    def _answered(self, conn: Connection) -> bool:
        """Whether it goes on to its answer; else it waits for the next lock."""
        poll = select.poll()
        while True:
            if wire.poll(poll, conn.pgconn.socket, 1, wire.LOOK_MS):
                conn.pgconn.consume_input()
                if not conn.pgconn.is_busy():
                    return True
            elif conn.looked and self._waits(conn):
                return False
