"""Make an installation in a directory of its own, start it, and end it whatever happens."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from ops import control
from ops.initialise import Choices, initialise
from ops.paths import Places, places
from ops.settings import Settings, read_settings
from ops.state import State, is_alive, read_state
from tenancy.errors import ConfigurationError, Unavailable


class Installation:
    """A running product, and which of its processes is which."""

    def __init__(self, where: Places, settings: Settings) -> None:
        self.places = where
        self.settings = settings

    @property
    def state(self) -> State:
        """What runs now. Raises Unavailable where nothing does."""
        state = control.state_of(self.settings)
        if state is None:
            raise Unavailable(f"nothing runs under {self.places.var}")
        return state

    def names(self, kind: str) -> list[str]:
        """The processes of one kind: `worker` → worker-0, worker-1."""
        return [name for name in self.state.processes if name.split("-")[0] == kind]

    def kill(self, name: str) -> int:
        """SIGKILL exactly this process; the supervisor starts it again. Returns the pid."""
        process = self.state.processes[name]
        if not is_alive(process):
            raise Unavailable(f"{name} is not running just now")
        os.kill(process.pid, signal.SIGKILL)
        return process.pid


def free_port() -> int:
    """A port of loopback that was free a moment ago: the kernel hands out others first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fresh(var: Path, choices: Choices) -> Places:
    """Make a new installation under `var`; one that is there is ended and removed first."""
    where = places(var)
    remove(where)
    initialise(where, choices, datetime.now(UTC))
    return where


def remove(where: Places) -> None:
    """End what runs there and take the directories away.

    Raises ConfigurationError where another version's installation runs, whose settings we cannot read.
    """
    if where.settings.exists():
        try:
            control.down(read_settings(where.settings))
        except ConfigurationError:
            if read_state(where.runtime / "state.json") is not None:
                raise
    shutil.rmtree(where.var, ignore_errors=True)
    shutil.rmtree(where.runtime, ignore_errors=True)


async def _start(where: Places, within_s: float) -> None:
    """control.up in a thread; a cancellation reaches it, and waits until it has let go of everything."""
    given_up = threading.Event()
    starting = asyncio.create_task(
        asyncio.to_thread(control.up, where.settings, within_s, given_up=given_up.is_set)
    )
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        given_up.set()
        await asyncio.gather(starting, return_exceptions=True)  # it says that it was given up
        raise


@asynccontextmanager
async def running(
    where: Places, *, keep: bool = False, within_s: float = control.UP_TIMEOUT_S
) -> AsyncIterator[Installation]:
    """Start it and wait until all of it is ready; end it afterwards unless `keep`.

    Raises Unavailable, naming what is not ready.
    """
    settings = read_settings(where.settings)
    try:
        await _start(where, within_s)
        yield Installation(where, settings)
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            await asyncio.to_thread(control.down, settings)
