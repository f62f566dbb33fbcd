"""One at a time on a strategy: planning its next signal, answering for one, carrying out an answer.

A lock of PostgreSQL's on a number made of the strategy's id, held to the end of the transaction.
Whoever needs it takes it before any row lock of theirs, a lease's included, so that nobody waits
in a circle. Two strategies whose numbers collide wait for each other, and that is all.
"""

from __future__ import annotations

from tenancy.database import Connection
from tenancy.values import StrategyID


async def turn(conn: Connection, strategy: StrategyID) -> None:
    """Wait for our turn. What is read after it is what the one before has left."""
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_number(strategy),))


def _number(strategy: StrategyID) -> int:
    """The random half of a UUIDv7, as PostgreSQL's bigint."""
    return int.from_bytes(strategy.bytes[8:], "big", signed=True)
