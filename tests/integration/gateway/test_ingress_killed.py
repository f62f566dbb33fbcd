"""SIGKILL under load: whoever was told 202 finds the signal in the table."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import msgspec
import psycopg
import pytest

from tests.fakes.hooks import BODY, SeededHook, seed_hook, signed
from tests.fixtures.postgres import Database

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[3]
KILLS = 3
SENDERS = 16


async def test_every_202_is_kept_whatever_moment_the_kill_comes(
    database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    told: set[str] = set()
    for kill in range(KILLS):
        before = len(told)
        await _one_life(hook, database, redis_server, told, lives_s=0.4 + 0.13 * kill)
        assert len(told) > before, "the load never reached the process"
    with psycopg.connect(database.superuser) as conn:
        kept = {str(row[0]) for row in conn.execute("SELECT signal_id FROM signals")}
        records = conn.execute("SELECT count(*) FROM audit_inbox").fetchone()
    assert told <= kept
    assert records == (len(kept),)


async def _one_life(
    hook: SeededHook, database: Database, redis_server: str, told: set[str], *, lives_s: float
) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    fd = listening.fileno()
    os.set_inheritable(fd, True)
    command = [sys.executable, "-m", "tests.fakes.ingress_process", str(fd)]
    process = subprocess.Popen(  # noqa: ASYNC220 - it must die by SIGKILL, at once
        [*command, database.conninfo("ingress"), redis_server],
        cwd=ROOT, pass_fds=[fd], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    listening.close()
    url = f"http://127.0.0.1:{port}{hook.path}"
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session:
            assert await _send(session, url, hook, told)  # it is up
            senders = [
                asyncio.create_task(_until_it_dies(session, url, hook, told))
                for _ in range(SENDERS)
            ]
            await asyncio.sleep(lives_s)
            process.kill()
            await asyncio.gather(*senders)
    finally:
        process.kill()
        process.wait(timeout=10)


async def _until_it_dies(
    session: aiohttp.ClientSession, url: str, hook: SeededHook, told: set[str]
) -> None:
    try:
        while await _send(session, url, hook, told):
            pass
    except aiohttp.ClientError:
        pass  # killed


async def _send(session: aiohttp.ClientSession, url: str, hook: SeededHook, told: set[str]) -> bool:
    async with session.post(url, data=BODY, headers=signed(hook.secret, BODY)) as reply:
        body = await reply.read()
        if reply.status == 202:
            told.add(msgspec.json.decode(body)["signalId"])
        return reply.status == 202
