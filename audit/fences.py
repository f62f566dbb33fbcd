"""One writer at a time: a lock in the database's session, and a lock on a file in the store.

Each ends with its holder, however that ends: PostgreSQL lets go of a session's lock with the session,
the kernel of a file's with the process.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tenancy.database import Connection, Database
from tenancy.errors import Unavailable


class LockTaken(Unavailable):
    """Another recorder holds the lock in the database: it writes, and this one waits for its turn."""

    code = "audit_lock_taken"


LOCK = 0x706F727463756C6C
"""The advisory lock's key: "portcull" in ASCII."""


@asynccontextmanager
async def only_session(database: Database) -> AsyncIterator[Connection]:
    """A connection whose session holds the recorder's lock. Raises LockTaken where another has it."""
    async with database.connection() as conn:
        try:
            cursor = await conn.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,))
            row = await cursor.fetchone()
            ours = row is not None and bool(row[0])
            if ours:
                yield conn
                # Let go in order, so that a successor need not wait for the server to miss us.
                await conn.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
        except BaseException:
            await conn.close()  # the lock must not go back to the pool; the pool connects anew
            raise
        if not ours:  # and so the session can be another's
            raise LockTaken("another recorder holds the lock in the database")


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold the file `lock`, made with its directory where new. Raises Unavailable where another does."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"another process works in this store: it holds {lock}") from None
        yield
    finally:
        os.close(descriptor)
