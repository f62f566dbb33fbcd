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
        """Until all of them have ended. Raises Unavailable as soon as one ends otherwise than well."""
        left = {asyncio.create_task(one.wait()): role for role, one in self._processes.items()}
        try:
            while left:
                ended, _ = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    role = left.pop(task)
                    if task.result() != 0:
                        how = f"Locust's {role} ended with status {task.result()}"
                        raise Unavailable(f"{how}; see {self._log}")
        finally:
            for task in left:
                task.cancel()

    async def end(self, within_s: float = END_WITHIN_S) -> None:
        """Asked, then made to."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self._processes.values():
            try:
                async with asyncio.timeout(within_s):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


@asynccontextmanager
async def swarm(run: Path, out: Path, generators: int, name: str) -> AsyncIterator[Swarm]:
    """Started; the master waits for all generators. CSV, HTML and log go to `out`, by `name`."""
    port = free_port()
    log = out / f"{name}.log"
    # Refused signals are what is looked for: a status other than 0 is to mean that Locust itself failed.
    every = ["-f", FILE, "--exit-code-on-error", "0"]
    own = ["--headless", "--only-summary", "--expect-workers", str(generators)]
    own += ["--stop-timeout", str(STOP_WITHIN_S)]
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
                    sys.executable, "-m", "locust", *every, *command,
                    stdin=asyncio.subprocess.DEVNULL, stdout=words, stderr=words, cwd=ROOT,
                    env={**os.environ, RUN: str(run), "PYTHONPATH": str(ROOT)},
                )  # fmt: skip
        yield Swarm(processes, log)
    finally:
        await Swarm(processes, log).end()
