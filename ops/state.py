"""What the running product is: `state.json` in the runtime directory, and pids that cannot lie.

A pid alone may have been given to somebody else since. With the process' start time (clock ticks
since boot, proc(5) stat field 22) it names exactly one process until the next boot, so `down`
never signals a stranger.
"""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import msgspec

from tenancy.errors import UNREADABLE, ConfigurationError


class Process(msgspec.Struct, frozen=True):
    """One process, exactly. `restarts`: how often the supervisor had to start it again."""

    pid: int
    start_ticks: int
    restarts: int = 0


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The file. `urls` by listener, `health` the Unix socket of each process that has one."""

    supervisor: Process
    settings: Path
    ready: bool
    urls: dict[str, str]
    processes: dict[str, Process]
    health: dict[str, Path]


def identify(pid: int, restarts: int = 0) -> Process | None:
    """The process that has `pid` now; None where there is none, or only its corpse."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name may hold blanks and brackets
    if fields[0] in ("Z", "X"):
        return None
    return Process(pid, int(fields[19]), restarts)


def is_alive(process: Process) -> bool:
    now = identify(process.pid)
    return now is not None and now.start_ticks == process.start_ticks


def end(process: Process, sig: signal.Signals, wait_s: float) -> bool:
    """Signal exactly `process` and wait for its end; False where it still lives after `wait_s`."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not is_alive(process):  # the handle is open: the pid cannot change hands any more
            return True
        signal.pidfd_send_signal(handle, sig)
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)


def write_state(path: Path, state: State) -> None:
    """Replace the file at once: a reader sees the old one or the new one."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(state, enc_hook=str)))
    os.replace(fresh, path)


def read_state(path: Path) -> State | None:
    """None where nothing was started, or whoever wrote the file is gone."""
    try:
        state = msgspec.json.decode(path.read_bytes(), type=State, dec_hook=lambda _, v: Path(v))
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        raise ConfigurationError(f"{path} cannot be read ({error}): remove it") from None
    return state if is_alive(state.supervisor) else None
