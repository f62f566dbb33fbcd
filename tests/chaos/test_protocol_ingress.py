"""Ingress, killed on each side of its one commit: the sender's retry ends in one signal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import psycopg
import pytest

from tests.fakes.hooks import BODY, seed_hook, signed

pytestmark = [pytest.mark.stack, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
ANSWERS_WITHIN_S = 20.0


@contextmanager
def ingress(database, redis_socket, module: str, *step: str):
    """An ingress in a process of its own, and its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    port, fd = listening.getsockname()[1], listening.fileno()
    os.set_inheritable(fd, True)
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(fd), database.conninfo("ingress"), redis_socket, *step],
        cwd=ROOT, pass_fds=[fd], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    listening.close()
    try:
        yield process, port
    finally:
        process.kill()
        process.wait(timeout=10)


async def send(port: int, hook, message: str) -> tuple[int, str]:
    headers = signed(hook.secret, BODY, message_id=message)
    timeout = aiohttp.ClientTimeout(total=ANSWERS_WITHIN_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(f"http://127.0.0.1:{port}{hook.path}", data=BODY, headers=headers) as reply,
    ):
        return reply.status, (await reply.json())["signalId"]


def count(database) -> tuple[int, int]:
    """Signals, and records of accepting one."""
    with psycopg.connect(database.superuser) as conn:
        row = conn.execute(
            "SELECT (SELECT count(*) FROM signals),"
            " (SELECT count(*) FROM audit_inbox WHERE kind = 'signal.accepted')"
        ).fetchone()
    assert row is not None
    return row[0], row[1]


async def killed_at(step: str, database, redis_server, hook) -> tuple[int, int]:
    """What the kill left; then the sender tries again, and all is as it should be."""
    module = "tests.chaos.ingress_process"
    with ingress(database, redis_server, module, step) as (process, port):
        with pytest.raises(aiohttp.ClientError):
            await send(port, hook, "msg_1")
        assert process.wait(timeout=10) == -signal.SIGKILL
    left = count(database)
    with ingress(database, redis_server, "tests.fakes.ingress_process") as (_, port):
        first, again = await send(port, hook, "msg_1"), await send(port, hook, "msg_1")
    assert first == again
    assert first[0] == 202
    assert count(database) == (1, 1)
    return left


async def test_killed_before_the_signal_is_committed(database, redis_server):
    """Nothing was kept and nobody was answered: the sender's retry is the first."""
    hook = seed_hook(database.superuser)
    assert await killed_at("accept_before_commit", database, redis_server, hook) == (0, 0)


async def test_killed_after_the_signal_is_committed_before_the_answer(database, redis_server):
    """Kept, and not told: the retry is told the signal that stands."""
    hook = seed_hook(database.superuser)
    assert await killed_at("accept_after_commit", database, redis_server, hook) == (1, 1)
