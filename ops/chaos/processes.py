"""SIGKILL, SIGSTOP and other ends for processes of ours, each by a handle that cannot be anybody else's.

Only what the installation's state.json names is touched (ops/state.py), and sessions of its own
PostgreSQL. A frozen worker is the worst kind: it sleeps through its lease, wakes, and goes on as if
nothing had happened.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from random import Random

import psycopg

from ops.stack.postgres import Postgres
from ops.state import Process, end, identify, is_alive
from ops.trial.installation import Installation

END_WAIT_S = 5.0
IMMEDIATE, FAST = signal.SIGQUIT, signal.SIGINT
_SESSIONS = """
SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND usename = ANY(%s) ORDER BY pid"""
PRODUCT = ["portcullis_admin", "portcullis_ingress", "portcullis_worker", "portcullis_recorder"]
WORKERS = ["portcullis_worker"]


class Processes:
    """Those of one installation."""

    def __init__(self, here: Installation) -> None:
        self._here = here
        self._superuser = Postgres(here.places).superuser()

    def alive(self, whom: str, random: Random) -> Process | None:
        """One that runs now; None between an end and the next start."""
        running = [
            process
            for name, process in sorted(self._here.state.processes.items())
            if name.split("-")[0] == whom and is_alive(process)
        ]
        return random.choice(running) if running else None

    async def session(self, random: Random) -> Process | None:
        """The server's process of one of the workers' sessions."""
        try:
            async with await self._connect() as conn:
                found = await (await conn.execute(_SESSIONS, (WORKERS,))).fetchall()
        except psycopg.OperationalError:
            return None
        return identify(random.choice(found)[0]) if found else None

    async def terminate_sessions(self) -> int:
        """How many of the product's sessions PostgreSQL ended."""
        try:
            async with await self._connect() as conn:
                query = (
                    f"SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM ({_SESSIONS}) s"  # noqa: S608
                )
                row = await (await conn.execute(query.encode(), (PRODUCT,))).fetchone()
        except psycopg.OperationalError:
            return 0
        return int(row[0]) if row is not None else 0

    async def _connect(self) -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(self._superuser, connect_timeout=3)


async def ended(process: Process | None, sig: signal.Signals) -> bool:
    """Whether exactly that process, which lived, is gone after `sig`."""
    if process is None or not is_alive(process):
        return False
    return await asyncio.to_thread(end, process, sig, END_WAIT_S)


async def frozen(process: Process | None, seconds: float) -> bool:
    """Stop it where it stands and let it go on after `seconds`, whatever happens; whether it stood."""
    if process is None or not is_alive(process):
        return False
    end(process, signal.SIGSTOP, 0.0)
    try:
        await asyncio.sleep(0.05)
        stood = _stands(process)
        await asyncio.sleep(seconds)
    finally:
        end(process, signal.SIGCONT, 0.0)
    return stood


def _stands(process: Process) -> bool:
    try:
        text = Path(f"/proc/{process.pid}/stat").read_text()
    except OSError:
        return False
    return text[text.rindex(")") + 2] == "T" and is_alive(process)
