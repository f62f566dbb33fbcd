"""Children that are killed, that ignore, that cannot start: what the supervisor does with each."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ops.stack.child import dying_with_parent
from ops.state import Process, is_alive
from ops.supervisor import Child, Spec, Supervisor


async def always() -> bool:
    return True


def sleeper(tmp_path: Path, name: str, stage: int = 0, script: str = "exec sleep 60") -> Spec:
    return Spec(
        name=name,
        stage=stage,
        command=lambda: dying_with_parent("KILL", ["sh", "-c", script]),
        ready=always,
        log=tmp_path / f"{name}.log",
        stop_timeout_s=1.0,
    )


@asynccontextmanager
async def supervised(*specs: Spec) -> AsyncIterator[dict[str, Child]]:
    supervisor = Supervisor(specs, lambda: None)
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(supervisor.run(stop, ready.set))
    try:
        await asyncio.wait_for(ready.wait(), 10)
        yield {child.spec.name: child for child in supervisor.children}
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)


async def until(what: Callable[[], bool], limit_s: float = 10.0) -> None:
    async with asyncio.timeout(limit_s):
        while not what():  # noqa: ASYNC110 - watching another process
            await asyncio.sleep(0.02)


async def test_a_killed_child_is_started_again(tmp_path: Path) -> None:
    async with supervised(sleeper(tmp_path, "one")) as children:
        first = children["one"].process()
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: (now := children["one"].process()) is not None and now.pid != first.pid)
        again = children["one"].process()
        assert again is not None
        assert again.restarts == 1
    assert not is_alive(again)


async def test_pauses_grow_while_a_child_keeps_ending(tmp_path: Path) -> None:
    child = Child(sleeper(tmp_path, "brief", script="exit 3"), lambda: None)
    with capture_logs() as logs:
        child.start()
        await until(lambda: len(logs) >= 4)
        await child.stop()
    assert [entry["again_in_s"] for entry in logs[:4]] == [0.1, 0.2, 0.4, 0.8]


async def test_a_child_that_says_78_is_not_started_again(tmp_path: Path) -> None:
    """A wrong PIN tried again and again would lock a hardware token."""
    starts = tmp_path / "starts"
    refused = sleeper(tmp_path, "refused", script=f"echo refused >>{starts}; exit 78")
    ending = sleeper(tmp_path, "ending", script=f"echo ending >>{starts}; exit 1")
    children = [Child(spec, lambda: None) for spec in (refused, ending)]
    for child in children:
        child.start()
    await until(lambda: starts.exists() and starts.read_text().count("ending") >= 3)
    for child in children:
        await child.stop()
    assert starts.read_text().count("refused") == 1


async def test_a_child_that_ignores_the_signal_is_killed_in_time(tmp_path: Path) -> None:
    script = "trap '' TERM; while :; do sleep 0.1; done"
    async with supervised(sleeper(tmp_path, "stubborn", script=script)) as children:
        process = children["stubborn"].process()
        await asyncio.sleep(0.2)
        began = time.monotonic()
    assert process is not None
    assert not is_alive(process)
    assert time.monotonic() - began < 5


async def test_a_program_that_is_missing_does_not_end_the_others(tmp_path: Path) -> None:
    broken = Spec(
        name="broken",
        stage=0,
        command=lambda: ["/no/such/program"],
        ready=always,
        log=tmp_path / "broken.log",
    )
    well = Child(sleeper(tmp_path, "well"), lambda: None)
    ill = Child(broken, lambda: None)
    well.start()
    ill.start()
    await until(lambda: well.process() is not None)
    assert not await ill.is_ready()
    await asyncio.gather(well.stop(), ill.stop())


def stage_script(order: Path, name: str) -> str:
    return (
        f"trap 'echo stop-{name} >> {order}; exit 0' TERM; echo start-{name} >> {order}; "
        "while :; do sleep 0.05; done"
    )


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def says(order: Path, word: str) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        return word in await asyncio.to_thread(read, order)

    return ready


async def test_stages_start_in_order_and_stop_in_the_opposite(tmp_path: Path) -> None:
    order = tmp_path / "order"
    specs = [
        Spec(
            name=name,
            stage=stage,
            command=lambda name=name: dying_with_parent(  # type: ignore[misc]
                "KILL", ["sh", "-c", stage_script(order, name)]
            ),
            ready=says(order, f"start-{name}"),
            log=tmp_path / f"{name}.log",
        )
        for stage, name in ((1, "second"), (0, "first"))
    ]
    async with supervised(*specs):
        pass
    assert order.read_text().split() == ["start-first", "start-second", "stop-second", "stop-first"]


ORPHANS = """
import asyncio, sys
from pathlib import Path
from structlog.testing import capture_logs

from ops.stack.child import dying_with_parent
from ops.supervisor import Spec, Supervisor
async def ready():
    return True
async def main():
    spec = Spec(name="one", stage=0, log=Path(sys.argv[1]), ready=ready,
                command=lambda: dying_with_parent("TERM", ["sleep", "60"]))
    supervisor = Supervisor([spec], lambda: None)
    def tell():
        process = supervisor.children[0].process()
        print(process.pid, process.start_ticks, flush=True)
    await supervisor.run(asyncio.Event(), tell)
asyncio.run(main())
"""


async def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    supervisor = subprocess.Popen(  # noqa: ASYNC220 - it starts in a moment
        [sys.executable, "-c", ORPHANS, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert supervisor.stdout is not None
    pid, ticks = (int(word) for word in supervisor.stdout.readline().split())
    child = Process(pid, ticks)
    assert is_alive(child)
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    await until(lambda: not is_alive(child), 5)


@pytest.mark.parametrize("name", ["INT", "TERM", "KILL"])
def test_the_command_of_a_child_is_run_as_itself(name: str) -> None:
    """setpriv becomes the program: the pid that we watch is the server's."""
    done = subprocess.run(
        dying_with_parent(name, ["sh", "-c", "echo $$; exec sleep 0"]),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip().isdigit()
