"""Keep a set of processes running, in stages, and stop them in the opposite order.

A child that ends unasked is started again after a pause that doubles from 0.1 s to 5 s and falls
back once the child has lived for ten seconds. One that ends with status 78 is left alone: the next
wrong PIN might lock a token. Children are executed, never forked (a forked child
would inherit a login to the HSM), and the kernel ends them if the supervisor dies however it dies.

Start: the first stage, and when it is ready, or after STAGE_LIMIT_S, everything else at once, since
every process of ours must bear that another is away. Stop: stage by stage, the last first; who
ignores the signal for `stop_timeout_s` is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import msgspec
import structlog

from ops.stack.child import dying_with_parent
from ops.state import Process, identify
from tenancy.pause import pause

EX_CONFIG = 78
"""sysexits.h: the process says that another start would fail alike, or harm (a refused PIN counts)."""
BACKOFF_FIRST_S = 0.1
BACKOFF_MOST_S = 5.0
SETTLED_S = 10.0
STAGE_LIMIT_S = 60.0
POLL_S = 0.05

log = structlog.get_logger()


def _nothing() -> None:
    """Most processes need no preparation."""


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """One process: how it is started, how one knows that it is ready, how it is asked to end.

    The lowest `stage` is started before all others; stages are stopped from the highest down.
    """

    name: str
    stage: int
    command: Callable[[], list[str]]
    ready: Callable[[], Awaitable[bool]]
    log: Path
    cwd: Path = Path("/")
    prepare: Callable[[], None] = _nothing
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10.0
    pass_fds: tuple[int, ...] = ()
    socket: Path | None = None
    """Where this process, and nobody else, listens. None: a server that is not our program."""
    tells_health: bool = False
    """Whether ops/health.py answers there."""
    environment: Mapping[str, str] = {}
    """Beside the supervisor's own. Never a secret."""


class Child:
    """One process under watch."""

    def __init__(self, spec: Spec, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.restarts = 0
        self._changed = changed
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._watch = asyncio.create_task(self._keep_running(), name=self.spec.name)

    def process(self) -> Process | None:
        """Who runs now; None between an end and the next start."""
        if self._process is None or self._process.returncode is not None:
            return None
        return identify(self._process.pid, self.restarts)

    async def is_ready(self) -> bool:
        return self.process() is not None and await self.spec.ready()

    async def stop(self) -> None:
        """Ask, wait, kill. Returns when the process is gone and will not be started again."""
        self._stopping.set()
        process = self._process
        if process is not None and process.returncode is None:
            process.send_signal(self.spec.stop_signal)
            try:
                async with asyncio.timeout(self.spec.stop_timeout_s):
                    await process.wait()
            except TimeoutError:
                log.error("process_killed", name=self.spec.name, after_s=self.spec.stop_timeout_s)
                process.kill()
                await process.wait()
        if self._watch is not None:
            await self._watch

    async def _keep_running(self) -> None:
        again_in_s = BACKOFF_FIRST_S
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            status = await self._run_once()
            if self._stopping.is_set():
                return
            if status == EX_CONFIG:
                log.error("process_must_not_restart", name=self.spec.name, log=str(self.spec.log))
                return
            if loop.time() - began > SETTLED_S:
                again_in_s = BACKOFF_FIRST_S
            log.warning("process_ended", name=self.spec.name, status=status, again_in_s=again_in_s)
            if not await pause(self._stopping, again_in_s):
                again_in_s = min(again_in_s * 2, BACKOFF_MOST_S)
                self.restarts += 1

    async def _run_once(self) -> int | str:
        try:
            self.spec.prepare()
            with self.spec.log.open("ab") as output:
                self._process = await asyncio.create_subprocess_exec(
                    *self.spec.command(),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self.spec.cwd,
                    pass_fds=self.spec.pass_fds,
                    env={**os.environ, **self.spec.environment},
                )
        except Exception as error:  # a missing program is a fault to wait out, not one to die of
            return repr(error)
        if self._stopping.is_set():  # stop() looked before there was anybody to signal
            self._process.send_signal(self.spec.stop_signal)
        self._changed()
        status = await self._process.wait()
        self._changed()
        return status


class Supervisor:
    """All children. `changed` is called after each start and end, to tell the world."""

    def __init__(self, specs: Sequence[Spec], changed: Callable[[], None]) -> None:
        self.children = [Child(spec, changed) for spec in sorted(specs, key=lambda s: s.stage)]

    async def run(self, stop: asyncio.Event, all_ready: Callable[[], None]) -> None:
        """Start everything, say so by `all_ready`, keep it up until `stop`, stop everything."""
        starting = asyncio.create_task(self._start(all_ready))
        try:
            await stop.wait()
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            for group in reversed(self._stages()):
                await asyncio.gather(*(child.stop() for child in group))

    async def _start(self, all_ready: Callable[[], None]) -> None:
        first = self._stages()[0]
        for child in first:
            child.start()
        await self._wait_ready(first, STAGE_LIMIT_S)
        for child in self.children:
            if child not in first:
                child.start()
        await self._wait_ready(self.children, None)
        all_ready()

    async def _wait_ready(self, group: list[Child], limit_s: float | None) -> None:
        waiting = list(group)
        try:
            async with asyncio.timeout(limit_s):
                while waiting:
                    waiting = [child for child in waiting if not await child.is_ready()]
                    if waiting:
                        await asyncio.sleep(POLL_S)
        except TimeoutError:
            log.error("stage_not_ready", names=[child.spec.name for child in waiting])

    def _stages(self) -> list[list[Child]]:
        return [list(group) for _, group in groupby(self.children, key=lambda c: c.spec.stage)]


def python_child(module: str, *arguments: str) -> list[str]:
    """The command of a process of ours: this interpreter, assertions on, ended with its parent."""
    return dying_with_parent("TERM", [sys.executable, "-m", module, *arguments])
