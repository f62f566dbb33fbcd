"""Which PostgreSQL answers: into a repository goes what its own cluster has written, and nothing else.

A host that was installed anew has another cluster under the same address. Its WAL bears names that the repository
has already; neither pg_receivewal nor pg_basebackup asks whose it is.
"""

from __future__ import annotations

import psycopg

from ops.backup.layout import Places
from tenancy.errors import ConfigurationError, Unavailable

CONNECT_S = 3


def system_identifier(conn: psycopg.Connection) -> str:
    """Of the cluster, from its initdb. Raises psycopg.Error."""
    row = conn.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
    assert row is not None
    return str(row[0])


def check_cluster(conn: psycopg.Connection, places: Places) -> None:
    """Raises ConfigurationError where what answers is not the repository's; psycopg.Error."""
    there, here = places.identity().system_identifier, system_identifier(conn)
    if there != here:
        raise ConfigurationError(
            f"{places.root} is the repository of the PostgreSQL cluster {there}, and {here} answers: nothing of"
            " that goes into it. Restore from it (docs/operating/backup.md), or name another directory"
        )


def check_server(conninfo: str, places: Places) -> None:
    """The same, in a session of its own. Raises Unavailable where nobody answers."""
    try:
        with psycopg.connect(conninfo, autocommit=True, connect_timeout=CONNECT_S) as conn:
            check_cluster(conn, places)
    except psycopg.Error as error:
        raise Unavailable(f"PostgreSQL does not answer: {error}") from error
