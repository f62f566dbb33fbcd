"""This process's capabilities: keep one and drop the rest, or give one up for good.

capset(2) is per thread: call it before there are others. Threads and children made later have no more.
Needs no library: glibc exports capset(), and /proc/self/status says what one has.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CAP_LINUX_IMMUTABLE = 9
_VERSION_3 = 0x20080522
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 4, 38, 24
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


def has(capability: int) -> bool:
    """Whether it is effective in this thread."""
    return bool(_effective() & 1 << capability)


def keep_only(capability: int) -> None:
    """Drop every other capability and every way to a new one; let no neighbour look in. Raises OSError."""
    _capset(_effective() & 1 << capability)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_DUMPABLE, 0)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")


def give_up(capability: int) -> None:
    """Drop this one, here and in every child (where we may say so for children). Raises OSError."""
    mask = 1 << capability
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(
        _PR_CAPBSET_DROP, capability, 0, 0, 0
    )  # needs CAP_SETPCAP: without it nothing is lost
    if _effective() & mask:
        _capset(_effective() & ~mask)


def _effective() -> int:
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _capset(capabilities: int) -> None:
    low, high = capabilities & 0xFFFFFFFF, capabilities >> 32
    data = (_Data * 2)(_Data(low, low, 0), _Data(high, high, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")
