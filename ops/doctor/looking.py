"""How the doctor looks without ever hanging: in threads that nobody waits for, in children that are left behind.

A call that does not come back (a frozen server, a name that does not resolve, a network disk) sits in
a daemon thread: the look's deadline passes, the finding says so, and the process ends all the same,
which it would not with asyncio's own executor, whose threads are joined at the end. What may hang in
the kernel where no signal reaches (a flush to a broken disk) is done by a child process instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ops.running import Running
from ops.settings import Settings
from tenancy.errors import Unavailable

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
DEAD_WITHIN_S = 0.5


class Ground(NamedTuple):
    """What every look starts from. `state`: None where nothing of ours runs."""

    settings: Settings
    file: Path
    state: Running | None

    @property
    def is_up(self) -> bool:
        return self.state is not None

    def log_of(self, process: str) -> Path:
        """Where that process writes its log."""
        return self.settings.instance.var / "log" / f"{process}.log"


async def in_thread(look: Callable[..., T], *arguments: Any) -> T:
    """What `look` returns or raises; given up with the task that waits, never joined."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(act: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            act(value)

    def run() -> None:
        try:
            act, value = future.set_result, look(*arguments)
        except Exception as error:
            act, value = future.set_exception, error  # type: ignore[assignment]
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, act, value)

    threading.Thread(target=run, daemon=True, name=f"look-{look.__name__}").start()
    return await future


def in_child(module: str, *words: str, within_s: float) -> str:
    """The output of `python -m module words`. Raises Unavailable where it is late or fails.

    A child that is late is killed, and waited for only a moment: one that hangs in the kernel dies
    when the kernel lets go of it.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", module, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=ROOT, text=True,
    )  # fmt: skip
    try:
        said, why = child.communicate(timeout=within_s)
    except subprocess.TimeoutExpired:
        child.kill()
        for pipe in (child.stdout, child.stderr):
            assert pipe is not None
            pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(DEAD_WITHIN_S)
        raise Unavailable(f"no answer within {within_s:g} s") from None
    if child.returncode != 0:
        last = why.strip().splitlines()[-1:] or [f"status {child.returncode}"]
        raise Unavailable(last[0])
    return said
