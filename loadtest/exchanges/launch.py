"""Start the Gate.io simulator as a process of its own, and end it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0


class SimulatorProcess:
    """`url` without /api/v4; `process` for who wants its pid."""

    def __init__(self, url: str, process: asyncio.subprocess.Process) -> None:
        self.url = url
        self.process = process

    async def stop(self) -> int:
        """SIGTERM, then SIGKILL after ten seconds; returns the exit status."""
        if self.process.returncode is None:
            self.process.terminate()
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                return await self.process.wait()
        except TimeoutError:
            self.process.kill()
            return await self.process.wait()


async def launch(
    *, port: int = 0, state_file: Path | None = None, arguments: Sequence[str] = ()
) -> SimulatorProcess:
    """Returns when it listens. `arguments`: more of its command line (--seed, --fault).

    Raises TimeoutError or RuntimeError where it does not listen.
    """
    command = [sys.executable, "-m", "loadtest.exchanges.gateio", "--port", str(port), *arguments]
    if state_file is not None:
        command += ["--state-file", str(state_file)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            line = await process.stdout.readline()
        if not line:
            raise RuntimeError("the simulator ended before it listened; see its stderr")
        return SimulatorProcess(json.loads(line)["url"], process)
    except BaseException:
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise


@asynccontextmanager
async def launched(
    *, port: int = 0, state_file: Path | None = None, arguments: Sequence[str] = ()
) -> AsyncIterator[SimulatorProcess]:
    """A simulator process for the length of a `with` block."""
    running = await launch(port=port, state_file=state_file, arguments=arguments)
    try:
        yield running
    finally:
        await running.stop()
