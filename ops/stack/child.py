"""Run one server of the stack in the foreground, so that it never outlives whoever started it.

setpriv(1) asks the kernel to signal the server when its parent dies. It must be the last step
before the server: a change of user, or a new user namespace, clears that wish (prctl(2)).
"""

from __future__ import annotations

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from tenancy.errors import Unavailable

POLL_S = 0.02


def dying_with_parent(signal_name: str, command: list[str]) -> list[str]:
    """`command`, told `signal_name` (INT, TERM, KILL) when the starting thread ends."""
    return ["setpriv", "--pdeathsig", signal_name, "--", *command]


def spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start `command`, both outputs appended to `log`, in `/` so that no clone is held busy."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/"
        )


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, limit_s: float
) -> None:
    """Return when `ready()`. Raises Unavailable, with the end of the log, if it ends or is late."""
    deadline = time.monotonic() + limit_s
    while not ready():
        code = process.poll()
        if code is not None or time.monotonic() > deadline:
            what = (
                f"ended with status {code}" if code is not None else f"not ready in {limit_s:g} s"
            )
            raise Unavailable(f"{process.args[-1]!r} {what}; {log} ends with:\n{tail(log)}")  # type: ignore[index]
        time.sleep(POLL_S)


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log; empty where there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


class Server(ABC):
    """What a private server is to whoever runs it: `command()` for a supervisor, or start and stop."""

    name: str
    stop_signal: signal.Signals
    start_timeout_s: float
    stop_timeout_s: float

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """What has to be there before each start."""

    @abstractmethod
    def command(self) -> list[str]:
        """What runs in the foreground."""

    @abstractmethod
    def ready(self) -> bool:
        """Does it answer?"""

    def start(self) -> None:
        """Run it as our child until stop(); returns when it answers. Raises Unavailable."""
        self.prepare()
        self._process = spawn(self.command(), self.log)
        wait_until(self.ready, self._process, self.log, self.start_timeout_s)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(self.stop_signal)
            self._process.wait(self.stop_timeout_s)
            self._process = None
