"""SQL of guesses: counted under row locks before they are checked (tenancy/throttle.py says why).

Rows are always locked in the same order, the address first, so that two logins never wait for each
other. PostgreSQL alone decides: with Redis away nothing is counted less.
"""

from __future__ import annotations

from datetime import datetime

from tenancy.database import Connection
from tenancy.throttle import (
    FORGET,
    Count,
    Verdict,
    charged_address,
    charged_person,
    judge_address,
    judge_person,
)


async def charge(conn: Connection, *, person: bytes, address: bytes, now: datetime) -> Verdict:
    """Count one guess as a failure, for now, or refuse it. Commit before the guess is checked."""
    here = await _locked(conn, address, now)
    verdict = judge_address(here, now)
    if verdict.kind != "allowed":
        return verdict
    them = await _locked(conn, person, now)
    verdict = judge_person(them, now)
    if verdict.kind == "allowed":
        await _put(conn, address, charged_address(here, now))
        await _put(conn, person, charged_person(them, now))
        await _sweep(conn, now)
    return verdict


async def refund(conn: Connection, *, person: bytes, address: bytes) -> None:
    """The guess was right, but it was only half of a login: take back what it counted."""
    for subject in (address, person):
        await conn.execute(
            "UPDATE login_throttles SET failures = greatest(failures - 1, 0) WHERE subject = %s",
            (subject,),
        )


async def forgive(conn: Connection, *, person: bytes, address: bytes) -> None:
    """A full login: the person's failures are forgotten, the address takes back its last one only."""
    await conn.execute(
        "UPDATE login_throttles SET failures = greatest(failures - 1, 0) WHERE subject = %s",
        (address,),
    )
    await conn.execute("DELETE FROM login_throttles WHERE subject = %s", (person,))


async def failures_of(conn: Connection, subject: bytes) -> int:
    """How many failures stand against the subject."""
    cursor = await conn.execute(
        "SELECT failures FROM login_throttles WHERE subject = %s", (subject,)
    )
    row = await cursor.fetchone()
    return int(row[0]) if row is not None else 0


async def _locked(conn: Connection, subject: bytes, now: datetime) -> Count:
    # Insert or lock in one statement: DO UPDATE locks the row that is there, DO NOTHING would not.
    cursor = await conn.execute(
        "INSERT INTO login_throttles AS t (subject, failures, began_at, last_at) VALUES (%s, 0, %s, %s)"
        " ON CONFLICT (subject) DO UPDATE SET failures = t.failures"
        " RETURNING failures, began_at, last_at",
        (subject, now, now),
    )
    row = await cursor.fetchone()
    assert row is not None
    return Count(*row)


async def _put(conn: Connection, subject: bytes, count: Count) -> None:
    await conn.execute(
        "UPDATE login_throttles SET failures = %s, began_at = %s, last_at = %s WHERE subject = %s",
        (count.failures, count.began_at, count.last_at, subject),
    )


async def _sweep(conn: Connection, now: datetime) -> None:
    """Forget a few rows whose day is over; those that somebody holds are left for another time.

    Last of all: whoever sweeps waits for nobody afterwards.
    """
    await conn.execute(
        "DELETE FROM login_throttles WHERE subject IN (SELECT subject FROM login_throttles"
        " WHERE last_at < %s LIMIT 10 FOR UPDATE SKIP LOCKED)",
        (now - FORGET,),
    )
