"""The host under us: does a core or the swap take secrets to disk, is there memory, are there file handles?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ops.doctor.finding import Finding, Level, well
from ops.doctor.looking import Ground, in_thread
from ops.processes import BACKLOG

SUBJECT = "kernel"
SERVERS = ("postgres", "redis")
"""Not ours: they have no secret of a client's in plain."""
FILES_LEAST = 4096


class Process(NamedTuple):
    """`core`: the soft limit on core files, as the kernel writes it. `files`: on open files."""

    core: str
    files: int
    swapped_kib: int


class Seen(NamedTuple):
    """`swaps`: devices. `memory_free`: the share that is available. Values are None where the kernel
    does not say."""

    processes: Mapping[str, Process]
    swaps: tuple[str, ...]
    memory_free: float
    oom_kills: int | None
    somaxconn: int | None
    ptrace_scope: int | None
    entropy: bool
    load: float
    cpus: int


async def examine(ground: Ground) -> list[Finding]:
    return judge(await in_thread(look, ground))


def look(ground: Ground) -> Seen:
    processes = {} if ground.state is None else ground.state.processes
    seen = {name: _process(one.pid) for name, one in processes.items()}
    swaps = Path("/proc/swaps").read_text().splitlines()[1:]
    return Seen(
        processes={name: one for name, one in seen.items() if one is not None},
        swaps=tuple(line.split()[0] for line in swaps if not line.startswith("/dev/zram")),
        memory_free=_memory_free(),
        oom_kills=_counted("/proc/vmstat", "oom_kill"),
        somaxconn=_number("/proc/sys/net/core/somaxconn"),
        ptrace_scope=_number("/proc/sys/kernel/yama/ptrace_scope"),
        entropy=_entropy(),
        load=os.getloadavg()[0],
        cpus=os.cpu_count() or 1,
    )


def judge(seen: Seen) -> list[Finding]:
    return [
        _cores(seen), _swap(seen), _memory(seen), *_oom(seen), _files(seen), *_backlog(seen),
        *_ptrace(seen), _random(seen), _load(seen),
    ]  # fmt: skip


def _cores(seen: Seen) -> Finding:
    what = "core files"
    open_ = [
        name for name, one in seen.processes.items() if one.core != "0" and name not in SERVERS
    ]
    if open_:
        then = (
            "A core holds opened secrets. It was not started by our supervisor as it should: "
            "restart it; LimitCORE=0."
        )
        return Finding(SUBJECT, what, "wrong", f"may be left by {', '.join(open_)}", then)
    return well(SUBJECT, what, "none of our processes may leave one")


def _swap(seen: Seen) -> Finding:
    out = {
        name: one.swapped_kib
        for name, one in seen.processes.items()
        if one.swapped_kib and name not in SERVERS
    }
    if out:
        worst = ", ".join(f"{name} ({kib} KiB)" for name, kib in sorted(out.items()))
        then = (
            "Memory of ours is on disk, opened secrets perhaps with it. `swapoff -a` (or "
            "MemorySwapMax=0 for our"
            " units), restart us, and treat the swap's disk as one that held secrets."
        )
        return Finding(SUBJECT, "swap", "wrong", f"swapped out: {worst}", then)
    if seen.swaps:
        then = "Encrypt it, or `swapoff -a`, or MemorySwapMax=0 for our units: docs/hsm/memory.md."
        return Finding(
            SUBJECT,
            "swap",
            "warning",
            f"on ({', '.join(seen.swaps)}); nothing of ours is there",
            then,
        )
    return well(SUBJECT, "swap", "off")


def _memory(seen: Seen) -> Finding:
    text = f"{seen.memory_free:.0%} available"
    level: Level = (
        "wrong" if seen.memory_free < 0.04 else "warning" if seen.memory_free < 0.1 else "well"
    )
    then = (
        "`ps aux --sort -rss | head`. The kernel ends the largest when none is left; the "
        "supervisor starts it again."
    )
    return Finding(SUBJECT, "memory", level, text, "" if level == "well" else then)


def _oom(seen: Seen) -> list[Finding]:
    if not seen.oom_kills:
        return []
    then = (
        "`journalctl -k | grep -i 'killed process'` says whom, and when. Give the host more "
        "memory, or us fewer neighbours."
    )
    text = f"the kernel has ended {seen.oom_kills} processes for want of it since boot"
    return [Finding(SUBJECT, "memory, ended", "warning", text, then)]


def _files(seen: Seen) -> Finding:
    short = {
        name: one.files
        for name, one in seen.processes.items()
        if one.files < FILES_LEAST and name not in SERVERS
    }
    if short:
        worst = ", ".join(f"{name} {most}" for name, most in sorted(short.items()))
        then = (
            "`ulimit -n 65536` before the start, or LimitNOFILE=65536: each sender and broker "
            "connection is one."
        )
        return Finding(SUBJECT, "open files", "warning", f"few allowed: {worst}", then)
    return well(SUBJECT, "open files", f"{FILES_LEAST} or more for each process")


def _backlog(seen: Seen) -> list[Finding]:
    if seen.somaxconn is None or seen.somaxconn >= BACKLOG:
        return []
    then = (
        f"`sysctl -w net.core.somaxconn={BACKLOG * 2}`, and in /etc/sysctl.d: a burst of senders "
        "is refused else."
    )
    return [Finding(SUBJECT, "accept queue", "warning", f"somaxconn {seen.somaxconn}", then)]


def _ptrace(seen: Seen) -> list[Finding]:
    if seen.ptrace_scope != 0:
        return []
    then = (
        "`sysctl -w kernel.yama.ptrace_scope=1`: our processes refuse it by themselves, the "
        "servers do not."
    )
    return [
        Finding(SUBJECT, "debuggers", "warning", "any process may trace its user's others", then)
    ]


def _random(seen: Seen) -> Finding:
    if not seen.entropy:
        then = (
            "Keys made now would wait for ever: give the machine a random device (virtio-rng), "
            "then restart it."
        )
        return Finding(SUBJECT, "randomness", "wrong", "the kernel's generator is not seeded", then)
    return well(SUBJECT, "randomness", "the kernel's generator is seeded")


def _load(seen: Seen) -> Finding:
    text = f"load {seen.load:.1f} on {seen.cpus} processors"
    if seen.load > 4 * seen.cpus:
        then = (
            "`top`: who? Ours alone: more processors. A flood: [ingress] rates, and the sender's"
            " hook disabled."
        )
        return Finding(SUBJECT, "load", "warning", text, then)
    return well(SUBJECT, "load", text)


def _process(pid: int) -> Process | None:
    try:
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    soft = {line[:26].strip(): line[26:].split()[0] for line in limits[1:]}
    swapped = next((line.split()[1] for line in status if line.startswith("VmSwap:")), "0")
    files = soft["Max open files"]
    return Process(
        soft["Max core file size"], 1 << 30 if files == "unlimited" else int(files), int(swapped)
    )


def _memory_free() -> float:
    lines = Path("/proc/meminfo").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return sizes["MemAvailable"] / sizes["MemTotal"]


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


def _counted(path: str, name: str) -> int | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.split()[0] == name), None)


def _entropy() -> bool:
    try:
        os.getrandom(16, os.GRND_NONBLOCK)
    except BlockingIOError:
        return False
    return True
