"""A look into PostgreSQL as one of our own roles: read-only, and never for longer than a few seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

CONNECT_WITHIN_S = 3
STATEMENT_WITHIN_MS = 4000
ROLES = ("owner", "admin", "ingress", "worker", "recorder")

Row = Mapping[str, Any]
Session = psycopg.Connection[dict[str, Any]]


_BOUNDS = (
    f"SET statement_timeout = {STATEMENT_WITHIN_MS}; SET lock_timeout = {STATEMENT_WITHIN_MS};"
    " SET default_transaction_read_only = on"
)


@contextmanager
def session(conninfo: str) -> Iterator[Session]:
    """A session that can change nothing. Raises psycopg.Error."""
    found = psycopg.connect(
        conninfo, autocommit=True, connect_timeout=CONNECT_WITHIN_S, row_factory=dict_row,
        application_name="portcullis-look",
    )  # fmt: skip
    with found:
        found.execute(_BOUNDS.encode())  # PgBouncer takes no `options` in a connection string
        yield found


def rows(conn: Session, query: str) -> list[Row]:
    return list(conn.execute(query.encode()).fetchall())


def row(conn: Session, query: str) -> Row:
    found = conn.execute(query.encode()).fetchone()
    return {} if found is None else found
