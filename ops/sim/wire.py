"""One session's socket, waited for and read to its end without an event loop; and all tables made new."""

from __future__ import annotations

import os
import select
import signal
from typing import Any

import psycopg

LOOK_MS = 3
"""After so long without an answer PostgreSQL is asked whether the statement waits for a lock."""


def poll(poller: Any, fileno: int, wants: int, ms: int) -> int:
    """1: can be read, 2: can be written, as psycopg counts them."""
    events = (select.POLLIN if wants & 1 else 0) | (select.POLLOUT if wants & 2 else 0)
    poller.register(fileno, events)
    ready = 0
    for _, event in poller.poll(ms):
        if event & ~select.POLLOUT:
            ready |= 1
        if event & select.POLLOUT:
            ready |= 2
    return ready & wants or (ready and wants)


def note_wait(conn: Any, said: str) -> None:
    """A server process tells that it waits, once it has looked for a deadlock and found none, and when it has its
    lock (`log_lock_waits`, postgres.py). On a busy machine no pause of ours would be long enough to know that."""
    if "still waiting for" in said:
        conn.looked = True
    elif " acquired " in said:
        conn.looked = False


def stand(conn: psycopg.AsyncConnection[Any]) -> None:
    """Stop the server process of a session that waits for a lock and has looked for a deadlock: while it looks it
    holds locks that nobody else could do without, and later it would look anew and perhaps be the victim."""
    os.kill(conn.pgconn.backend_pid, signal.SIGSTOP)


def go_on(conn: psycopg.AsyncConnection[Any]) -> None:
    os.kill(conn.pgconn.backend_pid, signal.SIGCONT)


def drain(conn: psycopg.AsyncConnection[Any]) -> None:
    """Read to the end of what the server says."""
    pgconn = conn.pgconn
    pgconn.nonblocking = 0
    while pgconn.get_result() is not None:
        pass
    pgconn.nonblocking = 1


def clean(monitor: psycopg.Connection[Any]) -> None:
    """Every table as the migrations left it, and as new: no row's place tells of an earlier seed."""
    kept = ("schema_migrations", "leases", "hsm_keys")
    rows = monitor.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = 'public'::regnamespace AND NOT relname = ANY(%s)"
        " AND pg_relation_size(oid) > 0",
        (list(kept),),
    ).fetchall()
    tables = ", ".join(row[0] for row in rows)
    if tables:
        monitor.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE".encode())
    monitor.execute("TRUNCATE leases")
    monitor.execute("INSERT INTO leases (part) SELECT generate_series(0, 15)")
