"""Pools and transactions: one tenant at a time, or ids only.

`tenant(scope)` opens a transaction in which row-level security shows exactly that tenant's
rows: the setting is local to the transaction, so a connection carries nothing back to the pool.
`shared()` opens one without a tenant, which sees only what the role's own policies give
(ingress' inserts, the recorder's inbox, a worker's ids).

What a connection brings back all the same (a tenant that was set for the session, a transaction
that is open, another role or search path) is looked at on its return to the pool, whoever used it
and however: such a connection is closed and replaced, and an error says so. The look costs one round
trip, after the caller has gone on.

A session that PostgreSQL ended while it lay in the pool (a restart, a failover) is seen when it is taken,
without a question: whoever asked gets another.

An error while COMMIT is under way means *unknown*: it is raised as OutcomeUnknown, and the
caller looks before it acts. Nothing here cancels or times out around COMMIT. Where somebody else does
(pg_cancel_backend, a statement_timeout) while PostgreSQL waits for a synchronous standby, PostgreSQL answers
COMMIT with a mere warning, and the row is on one machine only: that is *unknown*, too.
"""

from __future__ import annotations

import select
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import structlog
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from tenancy.errors import OutcomeUnknown, Unavailable
from tenancy.scope import TenantScope

log = structlog.get_logger()

Connection = psycopg.AsyncConnection[TupleRow]

T = TypeVar("T")
Told = Callable[[], Awaitable[T]]
"""Waits for the answer to statements that went into a pipeline of the caller's."""

_CARRIED = """
SELECT coalesce(current_setting('portcullis.tenant_id', true), ''), current_user = session_user,
       current_setting('search_path')"""

IDLE_S = 10
"""A process that stops in the middle of a transaction (frozen with its host, say) holds its locks no
longer than this: PostgreSQL ends the session, and with it the transaction."""
BROKEN = (psycopg.OperationalError, psycopg.errors.IdleInTransactionSessionTimeout)
"""The second is an InternalError to psycopg; the connection is as gone as with the first."""
LAST = {"FATAL", "PANIC"}
"""The severities after which PostgreSQL closes the connection."""
WARNINGS = "01"
"""The SQLSTATE class. At COMMIT: the wait for a standby was cancelled, and only this machine has the row."""
_IDLE = f"SET idle_in_transaction_session_timeout = '{IDLE_S}s'"


def _said_goodbye(conn: Connection) -> bool:
    """Whether PostgreSQL ended the session while nobody used it. Its last words wait in the socket."""
    waiting = select.poll()
    waiting.register(conn.fileno(), select.POLLIN)
    if not waiting.poll(0):
        return False
    severities = list[str | None]()

    def listen(notice: psycopg.errors.Diagnostic) -> None:
        severities.append(notice.severity_nonlocalized)

    conn.add_notice_handler(listen)
    try:
        while not conn.closed and waiting.poll(0):
            conn.pgconn.consume_input()
            conn.pgconn.is_busy()  # libpq hands over what it has read
    except psycopg.OperationalError:
        return True
    finally:
        conn.remove_notice_handler(listen)
    return conn.closed or not LAST.isdisjoint(severities)


class Database:
    """A pool of connections under one database role."""

    def __init__(
        self,
        conninfo: str,
        *,
        name: str,
        size: int,
        acquire_timeout_s: float = 5.0,
        lock_wait_s: int | None = None,
    ) -> None:
        """`name` shows in pg_stat_activity. `lock_wait_s`: whoever waits for a row longer than this is told that
        nothing was done; None: as the server is set. Nothing connects before open()."""
        self._fresh: TupleRow | None = None
        # Not in the connection string: PgBouncer takes no `options`.
        bound = "" if lock_wait_s is None else f"; SET lock_timeout = '{lock_wait_s}s'"
        self._limits = f"{_IDLE}{bound}"
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            conninfo,
            min_size=min(2, size),
            max_size=size,
            timeout=acquire_timeout_s,
            open=False,
            name=name,
            configure=self._remember,
            reset=self._check_returned,
            # Prepared from the second use on: with eight connections taking turns, psycopg's own
            # threshold of five kept most statements being parsed and planned anew.
            kwargs={"autocommit": True, "application_name": name, "prepare_threshold": 1},
        )

    async def open(self, wait_s: float = 10.0) -> None:
        """Connect. Raises Unavailable if PostgreSQL does not answer within `wait_s`."""
        try:
            await self._pool.open(wait=True, timeout=wait_s)
        except PoolTimeout as error:
            raise Unavailable(f"PostgreSQL did not answer within {wait_s:g} s") from error

    async def close(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A bare autocommit connection: for reads of one statement, under the role's own policies.

        Raises Unavailable. (A write may have happened all the same: use `shared` for those.)
        """
        try:
            async with self._living() as conn:
                yield conn
                if conn.info.transaction_status != TransactionStatus.IDLE:
                    await _discard(conn)  # the pool would commit what somebody left open
        except PoolTimeout as error:
            raise Unavailable("no database connection came free in time") from error
        except BROKEN as error:
            raise Unavailable(f"PostgreSQL: {error}") from error

    @asynccontextmanager
    async def _living(self) -> AsyncIterator[Connection]:
        """One that PostgreSQL has not ended. (The pool's own `check` waits a second after each that is gone.)"""
        async with AsyncExitStack() as stack:
            conn = await stack.enter_async_context(self._pool.connection())
            while self._is_gone(conn):
                await conn.close()
                await stack.aclose()  # back to the pool, which replaces what is closed
                conn = await stack.enter_async_context(self._pool.connection())
            yield conn

    _is_gone = staticmethod(_said_goodbye)

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[Connection]:
        """A transaction without a tenant: sees what the role's own policies give, no tenant's rows."""
        async with self._transaction("BEGIN") as conn:
            yield conn

    @asynccontextmanager
    async def tenant(self, scope: TenantScope) -> AsyncIterator[Connection]:
        """A transaction that sees and writes the rows of `scope` alone."""
        # In one round trip with BEGIN. UUID's own text holds nothing that would need quoting.
        tenant = str(UUID(int=scope.tenant_id.int))
        async with self._transaction(f"BEGIN; SET LOCAL portcullis.tenant_id = '{tenant}'") as conn:
            yield conn

    @asynccontextmanager
    async def _transaction(self, begin: str) -> AsyncIterator[Connection]:
        async with self.connection() as conn:
            try:
                await conn.execute(begin.encode(), prepare=False)
                yield conn
            except BROKEN as error:
                await _rollback(conn)
                raise Unavailable(
                    f"PostgreSQL: {error}; the transaction was rolled back"
                ) from error
            except BaseException:
                await _rollback(conn)
                raise
            await commit(conn)

    async def _remember(self, conn: Connection) -> None:
        """What a connection carries when it is new, and how long it may leave others waiting."""
        await conn.execute(self._limits.encode(), prepare=False)
        self._fresh = await (await conn.execute(_CARRIED)).fetchone()

    async def _check_returned(self, conn: Connection) -> None:
        """Close a connection that would carry anything over to its next user."""
        if await (await conn.execute(_CARRIED)).fetchone() != self._fresh:
            await _discard(conn)

    def stats(self) -> dict[str, Any]:
        return self._pool.get_stats()


@asynccontextmanager
async def across(conn: Connection, scope: TenantScope) -> AsyncIterator[None]:
    """Within an open tenant transaction: the rows of `scope` instead, and back again at the end.

    For the few acts that belong to two tenants (an operator asks a customer to be let in) and whose
    two records exist together or not at all. The wall stands meanwhile as always: one tenant at a
    time. After a database error the transaction only rolls back, and the setting goes with it.
    """
    row = await (await conn.execute("SELECT current_setting('portcullis.tenant_id')")).fetchone()
    assert row is not None
    await _within(conn, str(scope.tenant_id))
    try:
        yield
    finally:
        if conn.info.transaction_status is TransactionStatus.INTRANS:
            await _within(conn, row[0])


async def _within(conn: Connection, tenant: str) -> None:
    await conn.execute("SELECT set_config('portcullis.tenant_id', %s, true)", (tenant,))


async def commit(conn: Connection) -> None:
    """COMMIT. Raises OutcomeUnknown where the answer is lost, or where no standby is known to have it."""
    warned: list[str] = []

    def listen(notice: psycopg.errors.Diagnostic) -> None:
        if (notice.sqlstate or "").startswith(WARNINGS):
            warned.append(f"{notice.message_primary} ({notice.sqlstate})")

    conn.add_notice_handler(listen)
    try:
        cursor = await conn.execute("COMMIT")
    except psycopg.errors.IntegrityError:
        raise  # a deferred constraint: the server says that it rolled back
    except BROKEN as error:
        raise OutcomeUnknown("the database connection broke while committing") from error
    finally:
        conn.remove_notice_handler(listen)
    if warned:
        raise OutcomeUnknown(f"PostgreSQL committed with a warning: {warned[0]}")
    if cursor.statusmessage != "COMMIT":
        raise Unavailable(f"the transaction was not committed: {cursor.statusmessage}")


async def _discard(conn: Connection) -> None:
    """The server rolls back by itself, and the pool makes a new one."""
    log.error("connection_returned_unclean", pid=conn.info.backend_pid)
    await conn.close()


async def _rollback(conn: Connection) -> None:
    try:
        await conn.execute("ROLLBACK")
    except psycopg.Error:
        await conn.close()  # the pool replaces it; the server rolls back by itself
