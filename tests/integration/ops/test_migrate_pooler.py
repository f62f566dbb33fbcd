"""A process starts after an outage of PostgreSQL: the pooler's first answer is that of before.

PgBouncer lets a client in, and answers its first question with the failure of its own last login; by the next
client it has tried again (seen on booted hosts after a restore: the processes ended, and `site` with them).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
import pytest

from ops.migrate import migrate, require
from tenancy.errors import Unavailable
from tests.fixtures.postgres import Database

pytestmark = pytest.mark.stack

WELCOME = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
FIELDS = b"SFATAL\0C08P01\0Mserver login has been failing, try again later (server_login_retry)\0\0"
REFUSAL = b"E" + (len(FIELDS) + 4).to_bytes(4, "big") + FIELDS


@contextmanager
def pooler(conninfo: str, refuses: int) -> Iterator[tuple[str, list[int]]]:
    """A way to the database that refuses the first question of so many clients; how many came is in the list."""
    came: list[int] = []
    params = psycopg.conninfo.conninfo_to_dict(conninfo)
    server = f"{params['host']}/.s.PGSQL.{params.get('port', 5432)}"

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                came.append(1)
                threading.Thread(target=handle, args=(client, len(came)), daemon=True).start()

    def handle(client: socket.socket, number: int) -> None:
        with client, suppress(OSError):
            if number <= refuses:
                client.recv(4096)
                client.sendall(WELCOME)
                client.recv(65536)
                client.sendall(REFUSAL)
                return
            with socket.socket(socket.AF_UNIX) as upstream:
                upstream.connect(server)
                threading.Thread(target=pipe, args=(upstream, client), daemon=True).start()
                pipe(client, upstream)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        own = {"host": "127.0.0.1", "port": port, "sslmode": "disable", "gssencmode": "disable"}
        yield psycopg.conninfo.make_conninfo(**{**params, **own}), came
        listener.shutdown(socket.SHUT_RDWR)


def pipe(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)


def test_it_is_asked_again_and_the_process_starts(empty_database: Database) -> None:
    migrate(empty_database.conninfo("owner"))
    with pooler(empty_database.conninfo("worker"), refuses=2) as (conninfo, came):
        require(conninfo, within_s=20.0)
        assert len(came) == 3


def test_who_does_not_wait_is_told_in_words(empty_database: Database) -> None:
    with (
        pooler(empty_database.conninfo("worker"), refuses=1) as (conninfo, _),
        pytest.raises(
            Unavailable, match="PostgreSQL does not answer: server login has been failing"
        ),
    ):
        require(conninfo)
