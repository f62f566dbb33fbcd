"""Start the supervisor and wait for it, find it, end it: what `up`, `down` and the demo call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from ops.compose import check_worker
from ops.processes import ROOT
from ops.settings import Settings, read_settings
from ops.stack.child import tail
from ops.state import State, end, read_state
from tenancy.errors import Unavailable

UP_TIMEOUT_S = 90.0
DOWN_TIMEOUT_S = 90.0
POLL_S = 0.05


def state_of(settings: Settings) -> State | None:
    """What runs under these settings; None where nothing does."""
    return read_state(settings.instance.runtime / "state.json")


def check_runs(settings: Settings) -> None:
    """Raises Unavailable where PostgreSQL's own socket is not there: sooner than a time-out says it.

    A PostgreSQL that is reached over a network answers for itself.
    """
    host = str(conninfo_to_dict(settings.database.admin).get("host", ""))
    if host.startswith("/") and not any(Path(host).glob(".s.PGSQL.*")):
        raise Unavailable(f"nothing runs under {settings.instance.var}: `portcullis up` starts it")


def up(
    file: Path,
    timeout_s: float = UP_TIMEOUT_S,
    *,
    given_up: Callable[[], bool] = lambda: False,
) -> State:
    """Start everything in the background and return when all of it is ready.

    Returns at once where it is up already. Raises ConfigurationError where a process could not take the
    settings; Unavailable, naming what is not ready and the end of its log, and everything is then
    stopped again. `given_up` is asked while waiting: True ends what was started, and raises Unavailable.
    """
    settings = read_settings(file)
    check_worker(settings)
    log = settings.instance.var / "log" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    process = None
    if state_of(settings) is None:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "ops.processes", "--settings", str(file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=ROOT,
                start_new_session=True,
            )
    try:
        return _ready(settings, process, log, deadline, given_up)
    except BaseException:  # Ctrl-C too: what is half started is ended by who started it
        if process is not None:
            process.terminate()
            process.wait(DOWN_TIMEOUT_S)
        raise


def _ready(
    settings: Settings,
    process: subprocess.Popen[bytes] | None,
    log: Path,
    deadline: float,
    given_up: Callable[[], bool],
) -> State:
    """Wait for it. `process`: the supervisor where it is ours, perhaps too young to be recorded."""
    while True:
        state = state_of(settings)
        if state is not None and state.ready:
            if process is not None:
                process.returncode = 0  # it is meant to outlive us: nothing to wait for
            return state
        if process is not None and process.poll() is not None:
            raise Unavailable(f"the supervisor ended at once; {log} ends with:\n{tail(log)}")
        if given_up():
            raise Unavailable("the start was given up before everything was ready")
        if time.monotonic() > deadline:
            story = _who_is_not_ready(settings)
            down(settings)
            raise Unavailable(f"not everything was ready in time; {story}")
        time.sleep(POLL_S)


def down(settings: Settings, timeout_s: float = DOWN_TIMEOUT_S) -> bool:
    """End exactly the recorded supervisor, which ends its children; False where nothing ran.

    Raises Unavailable where it does not end in time: then a person looks, nothing is killed here.
    """
    state = state_of(settings)
    if state is None:
        return False
    if not end(state.supervisor, signal.SIGTERM, timeout_s):
        raise Unavailable(
            f"the supervisor (pid {state.supervisor.pid}) did not end within {timeout_s:g} s; "
            f"see {settings.instance.var / 'log' / 'supervisor.log'}"
        )
    _reap(state.supervisor.pid)
    return True


def _reap(pid: int) -> None:
    """If it was our own child, take its corpse away."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def _who_is_not_ready(settings: Settings) -> str:
    directory = settings.instance.var / "log"
    state = state_of(settings)
    running = set(state.processes) if state is not None else set()
    logs = sorted(directory.glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True)
    parts = [f"running: {', '.join(sorted(running)) or 'nothing'}"]
    parts += [f"--- {path.name}\n{tail(path, 4)}" for path in logs[:4]]
    return "\n".join(parts)
