"""CPU time of a process and of all that it has started, as the kernel counts it."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def of_tree(root: int) -> float:
    """Seconds of user and system time of `root` and its descendants, ended ones that were waited for included.

    Source: proc(5), fields 4 and 14 to 17 of /proc/pid/stat; in steps of one tick, usually 10 ms.
    """
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue  # it has ended meanwhile
        fields = text[text.rindex(")") + 2 :].split()
        pid = int(entry.name)
        children[int(fields[1])].append(pid)
        ticks[pid] = sum(map(int, fields[11:15]))
    found, todo = 0, [root]
    while todo:
        pid = todo.pop()
        found += ticks.get(pid, 0)
        todo += children[pid]
    return found * TICK_S
