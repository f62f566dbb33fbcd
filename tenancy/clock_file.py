"""The agent's report as every process of the host reads it: a small file, and the host's own clocks."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import msgspec

from tenancy.clock_quality import Instants, Quality, Report, judge

LOOK_EVERY_NS = 200_000_000
"""The file is read at most so often; the clocks are looked at every time."""
LARGEST_BYTES = 4096
CLOSE_ENOUGH_NS = 20_000
LOOKS = 5

_decoder = msgspec.json.Decoder(Report)


def read_instants() -> Instants:
    """Both clocks, as close together as a few looks get them: whoever is put to sleep between two
    reads would see a step where there is none. The width of the best look is the uncertainty."""
    best: Instants | None = None
    for _ in range(LOOKS):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall = time.time_ns()
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        middle, width = (before + after) // 2, after - before
        if best is None or width < best.uncertainty_ns:
            best = Instants(
                boot=_boot_id(),
                boottime_ns=middle,
                offset_ns=wall - middle,
                uncertainty_ns=width,
            )
        if width <= CLOSE_ENOUGH_NS:
            break
    assert best is not None
    return best


@lru_cache(maxsize=1)
def _boot_id() -> str:
    """Another one after each start of the machine (proc(5))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class ClockFile:
    """How good this host's clock is, by the file at `path`. Never raises: what cannot be read is unknown."""

    def __init__(self, path: Path, instants: Callable[[], Instants] = read_instants) -> None:
        self._path = path
        self._instants = instants
        self._report: Report | None = None
        self._why = "there is no report"
        self._looked_ns: int | None = None

    def __repr__(self) -> str:
        return f"ClockFile({self._path})"

    def quality(self) -> Quality:
        """The quality of a time that was read just before this call."""
        now = self._instants()
        if self._looked_ns is None or abs(now.boottime_ns - self._looked_ns) >= LOOK_EVERY_NS:
            self._looked_ns = now.boottime_ns
            self._look()
        return judge(self._report, now, self._why)

    @property
    def report(self) -> Report | None:
        """What the last look found."""
        return self._report

    def _look(self) -> None:
        self._report = None
        try:
            self._report = read_report(self._path)
        except FileNotFoundError:
            self._why = f"{self._path} does not exist: the clock agent has not run"
        except (OSError, ValueError) as error:
            self._why = f"{self._path} cannot be used: {error}"


def read_report(path: Path) -> Report:
    """Raises OSError, ValueError where it is no report or somebody else could have written it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError("others may write it")
        text = os.read(descriptor, LARGEST_BYTES)
    finally:
        os.close(descriptor)
    report = _decoder.decode(text)
    if report.v != 1:
        raise ValueError(f"it is of version {report.v}")
    return report


def write_report(path: Path, report: Report) -> None:
    """Replace the file at once: a reader finds the one before or this one, never half of either.

    Not synced to disk: after a crash of the host it is of another boot and worth nothing.
    """
    beside = path.with_name(f"{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(descriptor, 0o644)  # the umask would keep other users' processes from reading it
        os.write(descriptor, msgspec.json.encode(report))
    finally:
        os.close(descriptor)
    beside.rename(path)
