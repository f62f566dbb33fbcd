"""Things wrong with an installation for a while, and put right again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from ops.paths import Places
from ops.stack.postgres import Postgres
from ops.state import Process


@contextmanager
def changed(path: Path, content: bytes | None = None, mode: int | None = None) -> Iterator[None]:
    before, was = path.read_bytes(), path.stat().st_mode
    if content is not None:
        path.write_bytes(content)
    if mode is not None:
        path.chmod(mode)
    try:
        yield
    finally:
        path.write_bytes(before)
        path.chmod(was)


@contextmanager
def frozen(*processes: Process) -> Iterator[None]:
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGCONT)


@contextmanager
def altered(places: Places, *orders: tuple[str, str]) -> Iterator[None]:
    """Each order to the database with the one that takes it back."""
    with psycopg.connect(Postgres(places).superuser(), autocommit=True) as conn:
        for order, _ in orders:
            conn.execute(order.encode())
        try:
            yield
        finally:
            for _, back in orders:
                conn.execute(back.encode())
