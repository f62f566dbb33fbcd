"""Where the time of a bench goes: py-spy beside its processes, in a round of its own.

Who is sampled is stopped for it, a moment each time: no figure comes from such a round. A sample is a stack of a
thread that has a processor, so that their number is CPU time, and parts of several processes can be compared.
Each stack counts for one part: the innermost frame of ours on it, with all that it called of others' (a library,
asyncio, C). Stacks without any of ours are the loop's own, named by where they begin.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from ops.bench.cpu import ProcessTable
from tenancy.errors import ConfigurationError, Unavailable

SPY = Path(sys.executable).with_name("py-spy")
SAMPLES_PER_S = 200
ATTACHED_WITHIN_S, WRITTEN_WITHIN_S = 30.0, 60.0
LIMIT_S = 3600
"""Nobody is sampled for longer, whatever happens to the bench."""
MOST_PARTS = 12
OURS = ("gateway/", "tenancy/", "fanout/", "hsm/", "audit/", "ops/")
OF_OTHERS = "the rest"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One process in one section of a bench. `parts`: file → its part of the process's samples, largest first."""

    section: str
    process: str
    samples: int
    parts: dict[str, float]


class Profiler:
    """Keeps what it saw in `profiles`, and all stacks in `directory`, as speedscope reads them."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigurationError where there is no py-spy."""
        if not SPY.exists():
            raise ConfigurationError(
                "--profile needs py-spy beside this Python: pip install py-spy"
            )
        self.profiles: list[Profile] = []
        self._directory = directory

    @asynccontextmanager
    async def of(self, section: str, processes: Mapping[int, str]) -> AsyncIterator[None]:
        """Sample these (pid → name) while the block runs. Raises Unavailable, with py-spy's words."""
        self._directory.mkdir(parents=True, exist_ok=True)
        spies = {}
        try:
            for pid, name in processes.items():
                file = self._directory / f"profile-{section}-{name}.txt"
                spies[name] = await _spy(pid, file), file
            for name, (spy, _) in spies.items():
                await _attached(spy, name)
            yield
            for name, (spy, file) in spies.items():
                await _written(spy, name)
                self.profiles.append(summary(section, name, file.read_text()))
        finally:
            for spy, _ in spies.values():
                if spy.returncode is None:
                    spy.kill()
                    await spy.wait()


async def _spy(pid: int, file: Path) -> Process:
    words = ["--pid", str(pid), "--format", "raw", "--output", str(file)]
    words += ["--rate", str(SAMPLES_PER_S), "--duration", str(LIMIT_S)]
    return await asyncio.create_subprocess_exec(SPY, "record", *words, stdout=PIPE, stderr=STDOUT)


async def _attached(spy: Process, name: str) -> None:
    assert spy.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(ATTACHED_WITHIN_S):
            while b"Sampling process" not in said:
                line = await spy.stdout.readline()
                said += line
                if not line:
                    raise Unavailable(f"py-spy cannot look at {name}: {said.decode().strip()}")
    except TimeoutError:
        raise Unavailable(f"py-spy did not look at {name} in time: {said.decode()}") from None


async def _written(spy: Process, name: str) -> None:
    if spy.returncode is None:
        spy.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(WRITTEN_WITHIN_S):
            said, _ = await spy.communicate()
    except TimeoutError:
        raise Unavailable(f"py-spy did not write what it saw of {name}") from None
    if spy.returncode:
        raise Unavailable(f"py-spy lost {name}: {said.decode().strip()}")


def summary(section: str, process: str, stacks: str) -> Profile:
    """Of py-spy's raw form: `frame;frame;… count` a line, outermost first; a frame is `name (file:line)`."""
    counted: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        counted[_part(stack.split(";"))] += int(count)
    samples = counted.total()
    shown = counted.most_common(MOST_PARTS)
    parts = {part: count / samples for part, count in shown}
    if rest := samples - sum(count for _, count in shown):
        parts[OF_OTHERS] = rest / samples
    return Profile(section=section, process=process, samples=samples, parts=parts)


def _part(frames: list[str]) -> str:
    for frame in reversed(frames):
        file = _file(frame)
        if file.startswith(OURS) and file != "ops/run.py":
            return file
    return _file(frames[-1])


def _file(frame: str) -> str:
    """`plan (fanout/plan.py:12)` → `fanout/plan.py`."""
    _, _, place = frame.rpartition(" (")
    return place.rpartition(":")[0] or place.rstrip(")")


def python_processes(root: int) -> dict[int, str]:
    """Of the tree of `root`, by what they run: `-m ops.run worker --index 0` is `worker-0`."""
    found = {}
    for pid in ProcessTable().tree(root):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except OSError:
            continue  # it has ended meanwhile
        if "ops.run" in words:
            name = words[words.index("ops.run") + 1]
            index = words[words.index("--index") + 1] if "--index" in words else "0"
            found[pid] = f"{name}-{index}"
    return found
