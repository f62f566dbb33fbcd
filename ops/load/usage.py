"""What each process of the product costs while it works: CPU time and memory, looked at once a second."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import msgspec

from ops.bench.cpu import ProcessTable
from ops.state import State

EVERY_S = 1.0
PAGE = os.sysconf("SC_PAGE_SIZE")
OUTSIDE = frozenset({"exchange", "locust"})
"""What no installation has beside it."""


class Sample(msgspec.Struct, frozen=True):
    """One look, by group. `memory`: bytes that are no other process' too (resident less shared). `files`: open
    descriptors, sockets among them."""

    at_s: float
    cpu_s: dict[str, float]
    memory: dict[str, int]
    files: dict[str, int] = {}
    threads: dict[str, int] = {}


class Usage:
    """`roots`: of each group the processes whose trees it is; `alone`: of these only the process itself."""

    def __init__(self, roots: Mapping[str, Sequence[int]], alone: Mapping[str, int]) -> None:
        self._roots, self._alone = {group: [*pids] for group, pids in roots.items()}, alone
        self.samples: list[Sample] = []

    def add(self, group: str, roots: Sequence[int]) -> None:
        """More of a group, from the next look on."""
        self._roots.setdefault(group, []).extend(roots)

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            self.look()
            await asyncio.sleep(EVERY_S)

    def look(self) -> None:
        """One sample more."""
        table = ProcessTable()
        pids = {group: [pid] for group, pid in self._alone.items()}
        for group, roots in self._roots.items():
            pids[group] = [pid for root in roots for pid in table.tree(root)]
        before = self.samples[-1].cpu_s if self.samples else {}
        cpu = {
            # What a process spent that has ended meanwhile is not given back.
            group: max(before.get(group, 0.0), sum(map(table.cpu_s, members)))
            for group, members in pids.items()
        }
        looks = (own_memory, open_files, threads)
        counted = (
            {group: sum(map(count, members)) for group, members in pids.items()} for count in looks
        )
        self.samples.append(Sample(time.time(), cpu, *counted))


def own_memory(pid: int) -> int:
    """Bytes; 0 for a process that has ended. Source: proc(5), /proc/pid/statm: resident and shared pages."""
    with suppress(OSError):
        resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[1:3]
        return (int(resident) - int(shared)) * PAGE
    return 0


def open_files(pid: int) -> int:
    """0 for a process that has ended."""
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return 0


def threads(pid: int) -> int:
    """0 for a process that has ended."""
    with suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/task"))
    return 0


def groups(state: State) -> dict[str, list[int]]:
    """The product's processes by kind: worker-0 and worker-1 are `worker`."""
    found: dict[str, list[int]] = {}
    for name, process in state.processes.items():
        found.setdefault(name.rsplit("-", 1)[0] if name[-1].isdigit() else name, []).append(
            process.pid
        )
    return found


def cpu_between(samples: Sequence[Sample], began_s: float, ended_s: float) -> dict[str, float]:
    """CPU seconds of each group within this time, drawn straight between two looks."""
    spent: dict[str, float] = defaultdict(float)
    for one, other in pairwise(samples):
        within = min(ended_s, other.at_s) - max(began_s, one.at_s)
        if within > 0:
            part = within / (other.at_s - one.at_s)
            for group in other.cpu_s:
                spent[group] += part * (other.cpu_s[group] - one.cpu_s.get(group, 0.0))
    return dict(spent)


def most(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Of each group, at any look."""
    names = {group for one in counts for group in one}
    return {name: max(one.get(name, 0) for one in counts) for name in sorted(names)}
