"""The disks that our data, logs, sockets and stores lie on: room, inodes, writable, and how fast a flush is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from ops.doctor.finding import Finding, Level, well
from ops.doctor.looking import Ground, in_child, in_thread
from ops.preflight import FREE_BYTES_LEAST
from ops.settings import DirectoryStore, Settings
from tenancy.errors import Unavailable

SUBJECT = "disk"
FLUSH_WITHIN_S = 6.0
SHORT = 0.15
"""Of a disk; only where that is little in bytes, too."""
SOCKETS_BYTES_LEAST = 4 << 20
SLOW_S, TOO_SLOW_S = 0.010, 0.050
UNBELIEVABLE_S = 0.000_005
"""No disk acknowledges a flush in less: something between us and it says yes before it is true."""
VOLATILE = ("tmpfs", "ramfs")


class Mount(NamedTuple):
    """One file system. `whose`: what of ours lies there. `inodes`: 0 where it does not count them."""

    whose: str
    path: Path
    kind: str
    total_bytes: int
    free_bytes: int
    inodes: int
    inodes_free: int
    read_only: bool
    sockets_only: bool = False


class Flush(NamedTuple):
    """`why`: why there are no figures."""

    took_s: Sequence[float]
    why: str = ""


async def examine(ground: Ground) -> list[Finding]:
    mounts = await in_thread(look, ground.settings)
    flush = await in_thread(measure, ground.settings.instance.var)
    data = next((one for one in mounts if one.whose.startswith("data")), None)
    return [
        *(finding for one in mounts for finding in judge_mount(one)),
        judge_flush(flush, kind="" if data is None else data.kind),
    ]


def places(settings: Settings) -> dict[str, Path]:
    """What of ours is where; several may share one file system."""
    stores = [one for one in settings.recorder.stores if isinstance(one, DirectoryStore)]
    return {
        "data": settings.instance.var,
        "logs": settings.instance.var / "log",
        "database": settings.instance.var / "postgres",
        "spill": settings.worker.spill or settings.instance.var / "spill",
        "audit store": settings.recorder.store,
        **{f"audit store {one.name}": one.path for one in stores},
        "sockets": settings.instance.runtime,
    }


def look(settings: Settings) -> list[Mount]:
    """One entry for each file system."""
    found: dict[int, list[tuple[str, Path]]] = {}
    for whose, path in places(settings).items():
        try:
            found.setdefault(os.stat(path).st_dev, []).append((whose, path))
        except OSError:
            continue  # preflight says what is missing
    return [_mount(entries) for entries in found.values()]


def measure(directory: Path) -> Flush:
    try:
        text = in_child("ops.doctor.fsync", str(directory), within_s=FLUSH_WITHIN_S)
        return Flush([float(line) for line in text.split()])
    except Unavailable as error:
        return Flush((), str(error))


def judge_mount(seen: Mount) -> list[Finding]:
    where = f"{seen.whose} at {seen.path}"
    if seen.read_only:
        then = (
            "`dmesg | tail`: a disk that failed is mounted again read-only. Move to another, "
            "restore."
        )
        return [Finding(SUBJECT, where, "wrong", "mounted read-only", then)]
    return [_room(seen, where), *_names(seen, where), *_volatile(seen, where)]


def _room(seen: Mount, where: str) -> Finding:
    share = seen.free_bytes / max(1, seen.total_bytes)
    text = f"{_size(seen.free_bytes)} of {_size(seen.total_bytes)} free ({share:.0%})"
    least = SOCKETS_BYTES_LEAST if seen.sockets_only else FREE_BYTES_LEAST
    level: Level = "well"
    if seen.free_bytes < least:
        level = "wrong"
    elif share < SHORT and seen.free_bytes < 10 * least:
        level = "warning"
    then = (
        f"`du -xh {seen.path} | sort -h | tail`. Never delete anything under postgres/ or "
        "audit/: old"
        " logs may go, else grow the disk. Full: signals are refused, nothing is lost."
    )
    return Finding(SUBJECT, where, level, text, "" if level == "well" else then)


def _names(seen: Mount, where: str) -> list[Finding]:
    if not seen.inodes:
        return []
    share = seen.inodes_free / seen.inodes
    text = f"{seen.inodes_free} of {seen.inodes} inodes free ({share:.0%})"
    level: Level = "wrong" if share < 0.02 else "warning" if share < 0.1 else "well"
    then = f"`du -x --inodes {seen.path} | sort -n | tail` says who has so many files."
    return [Finding(SUBJECT, f"{where}, inodes", level, text, "" if level == "well" else then)]


def _volatile(seen: Mount, where: str) -> list[Finding]:
    if seen.kind not in VOLATILE or seen.sockets_only:
        return []
    then = "Move var to a disk: after a restart of this host nothing of it is left."
    return [Finding(SUBJECT, f"{where}, kind", "warning", f"is memory ({seen.kind})", then)]


def judge_flush(seen: Flush, kind: str) -> Finding:
    what = "flush (fdatasync of 8 KiB)"
    if not seen.took_s:
        then = (
            "A flush that does not end means a disk that is failing: `dmesg | tail`, `iostat -x 1`."
        )
        return Finding(SUBJECT, what, "wrong", seen.why or "no flush was finished", then)
    middle, worst = median(seen.took_s), max(seen.took_s)
    text = f"median {_ms(middle)}, worst {_ms(worst)} of {len(seen.took_s)}"
    if middle >= SLOW_S:
        then = (
            "Each signal waits for a flush. `iostat -x 1`: who else writes to this disk? Put"
            " data on"
            " NVMe with power-loss protection."
        )
        return Finding(SUBJECT, what, "wrong" if middle >= TOO_SLOW_S else "warning", text, then)
    if middle < UNBELIEVABLE_S and kind not in VOLATILE:
        then = (
            "Nothing flushes so fast: is there a virtual disk with cache=unsafe, or "
            "eatmydata? What was"
            " acknowledged would be lost with the power."
        )
        return Finding(SUBJECT, what, "warning", text, then)
    return well(SUBJECT, what, text)


def _mount(entries: Sequence[tuple[str, Path]]) -> Mount:
    path = entries[0][1]
    found = os.statvfs(path)
    return Mount(
        whose=", ".join(whose for whose, _ in entries),
        path=path,
        kind=_kind(path),
        total_bytes=found.f_blocks * found.f_frsize,
        free_bytes=found.f_bavail * found.f_frsize,
        inodes=found.f_files,
        inodes_free=found.f_favail,
        read_only=bool(found.f_flag & os.ST_RDONLY),
        sockets_only=[whose for whose, _ in entries] == ["sockets"],
    )


def _kind(path: Path) -> str:
    """The type of the file system, by the longest mount point (proc(5), mountinfo)."""
    best = (0, "")
    real = os.path.realpath(path)
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4]
        if real == point or real.startswith(point.rstrip("/") + "/"):
            best = max(best, (len(point), after.split(" ")[0]))
    return best[1]


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
