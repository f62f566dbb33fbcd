"""What the kernel was told of its clock's error: adjtimex(2), asked and never set.

The second-best answer, for hosts whose daemon is not chrony. The kernel only keeps what a daemon wrote
(systemd-timesyncd writes an error of 0) and lets it grow by 500 ppm, so it never meets a tier.
"""

from __future__ import annotations

import ctypes

import msgspec

UNSYNCHRONISED = 0x0040  # STA_UNSYNC
NANOSECONDS = 0x2000  # STA_NANO: `offset` is in ns, else in microseconds
TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>; all of it, because the kernel writes all of it."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    ]


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """`err_ns`: the largest error that the kernel was told of; None: it calls itself unsynchronised."""

    err_ns: int | None


def read_kernel() -> Kernel:
    """Asks, with no mode set: changes nothing and needs no privilege. A kernel that may not be asked
    (a sandbox's filter) has no word."""
    libc = ctypes.CDLL(None)
    timex = _Timex()
    state = libc.adjtimex(ctypes.byref(timex))
    if state < 0 or state == TIME_ERROR or timex.status & UNSYNCHRONISED:
        return Kernel(err_ns=None)
    offset_ns = abs(timex.offset) * (1 if timex.status & NANOSECONDS else 1000)
    return Kernel(err_ns=offset_ns + 1000 * max(timex.maxerror, timex.esterror))
