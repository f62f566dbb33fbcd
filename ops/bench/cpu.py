"""CPU time of a process and of all that it has started, as the kernel counts it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class ProcessTable:
    """All processes of a moment.

    Source: proc(5), fields 4 and 14 to 17 of /proc/pid/stat; in steps of one tick, usually 10 ms.
    """

    def __init__(self) -> None:
        self._ticks: dict[int, int] = {}
        self._children: dict[int, list[int]] = defaultdict(list)
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue  # it has ended meanwhile
            fields = text[text.rindex(")") + 2 :].split()
            pid = int(entry.name)
            self._children[int(fields[1])].append(pid)
            self._ticks[pid] = sum(map(int, fields[11:15]))

    def tree(self, root: int) -> Iterator[int]:
        """`root` and its descendants."""
        todo = [root]
        while todo:
            pid = todo.pop()
            yield pid
            todo += self._children.get(pid, ())

    def cpu_s(self, pid: int) -> float:
        """User and system time, that of ended children that were waited for included; 0 for no process."""
        return self._ticks.get(pid, 0) * TICK_S


def of_tree(root: int) -> float:
    """Seconds of user and system time of `root` and its descendants, ended ones that were waited for included."""
    table = ProcessTable()
    return sum(table.cpu_s(pid) for pid in table.tree(root))
