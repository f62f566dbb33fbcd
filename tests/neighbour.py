"""Another process of the same user: whose memory does the kernel let it open?

Root may look into every process, so in a test run as root both sides run without CAP_SYS_PTRACE; the
rule is then the one for any other user.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_PR_CAPBSET_DROP, _CAP_SYS_PTRACE = 24, 19
_LOOK = """
import sys
for pid in sys.argv[1:]:
    try:
        open(f"/proc/{pid}/mem", "rb").close()
        print(pid)
    except (PermissionError, FileNotFoundError):
        pass
"""


def ordinary(command: list[str]) -> list[str]:
    """The command, without root's right to look into every process."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--bounding-set=-sys_ptrace", "--", *command]


def start_ordinary_processes() -> None:
    """What this very thread starts from now on is without that right; the thread itself keeps it."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_SYS_PTRACE, 0, 0, 0)


def may_open(pids: Iterable[int]) -> set[int]:
    """Those of `pids` whose memory a neighbour may open."""
    command = ordinary([sys.executable, "-c", _LOOK, *map(str, pids)])
    looked = subprocess.run(command, capture_output=True, text=True, check=True)
    return {int(line) for line in looked.stdout.split()}


def core_limit(pid: int) -> list[str]:
    """Of a core file, in bytes: soft and hard."""
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith("Max core file size"):
            return line.split()[4:6]
    raise AssertionError("no such limit")
