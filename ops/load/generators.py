"""Locust's processes: a master that searches and generators that send, ended whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from loadtest.swarm.run import RUN
from ops.processes import ROOT
from ops.trial.installation import free_port
from tenancy.errors import Unavailable

FILE = "loadtest/locustfiles/knee.py"
STOP_WITHIN_S = 12
"""Longer than a sender waits for an answer: no signal is left half sent."""
END_WITHIN_S = 5.0


class Swarm:
    """The running processes by name: `master`, `generator-0`, …"""

    def __init__(self, processes: dict[str, asyncio.subprocess.Process], log: Path) -> None:
        self._processes = processes
        self._log = log

    @property
    def pids(self) -> dict[str, int]:
        return {name: one.pid for name, one in self._processes.items()}

    async def wait(self) -> None:
        """Until the search is over. Raises Unavailable where a process ended otherwise."""
        for name, process in self._processes.items():
            status = await process.wait()
            # 1: some requests failed, which is what a search for the knee makes them do.
            if status not in (0, 1):
                raise Unavailable(f"Locust's {name} ended with status {status}; see {self._log}")


@asynccontextmanager
async def swarm(run: Path, out: Path, generators: int, name: str) -> AsyncIterator[Swarm]:
    """Started; the master waits for all generators. CSV, HTML and log go to `out`, by `name`."""
    port = free_port()
    log = out / f"{name}.log"
    own = [
        "--headless",
        "--only-summary",
        "--stop-timeout",
        str(STOP_WITHIN_S),
        "--expect-workers",
        str(generators),
    ]
    pages = ["--csv", str(out / name), "--html", str(out / f"{name}.html")]
    master = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)]
    worker = ["--worker", "--master-host", "127.0.0.1", "--master-port", str(port)]
    commands = {"master": [*master, *own, *pages]}
    commands |= {f"generator-{n}": worker for n in range(generators)}
    processes: dict[str, asyncio.subprocess.Process] = {}
    try:
        with log.open("wb") as words:
            for role, command in commands.items():
                processes[role] = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "locust", "-f", FILE, *command,
                    stdin=asyncio.subprocess.DEVNULL, stdout=words, stderr=words, cwd=ROOT,
                    env={**os.environ, RUN: str(run), "PYTHONPATH": str(ROOT)},
                )  # fmt: skip
        yield Swarm(processes, log)
    finally:
        for process in processes.values():
            await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Asked, then made to."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(END_WITHIN_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
