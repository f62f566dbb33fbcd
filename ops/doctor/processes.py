"""Our processes: is each there and ready, how often was it started again, and with which settings?"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from ops.doctor.finding import Finding, Level, well
from ops.doctor.looking import Ground
from ops.probe import get
from ops.processes import specs
from ops.state import Process

SUBJECT = "processes"
LATELY_S = 600.0
OFTEN = 3


class Seen(NamedTuple):
    """`up`: None where no supervisor of ours lives. `expected`: every name by the settings.

    `up_s`: how long each has run. `unready`: what `/readyz` says is wrong, by process and check.
    `settings_newer`: the file was changed after the supervisor had read it.
    """

    up: bool
    ready: bool = False
    expected: tuple[str, ...] = ()
    processes: Mapping[str, Process] = {}
    up_s: Mapping[str, float] = {}
    unready: Mapping[str, str] = {}
    settings_newer: bool = False
    logs: Path = Path()


async def examine(ground: Ground) -> list[Finding]:
    return judge(await look(ground))


async def look(ground: Ground) -> Seen:
    logs = ground.settings.instance.var / "log"
    state = ground.state
    if state is None:
        return Seen(up=False, logs=logs)
    asked = dict(state.health)
    said = await asyncio.gather(*(_unready(sock) for sock in asked.values()))
    changed = ground.file.stat().st_mtime
    return Seen(
        up=True, ready=state.ready, logs=logs,
        expected=tuple(one.name for one in specs(ground.settings, ground.file, -1, -1)),
        processes=state.processes,
        up_s={name: age_s(one) for name, one in state.processes.items()},
        unready={name: why for name, why in zip(asked, said, strict=True) if why and name in state.processes},
        settings_newer=changed > datetime.now(UTC).timestamp() - age_s(state.supervisor),
    )  # fmt: skip


async def _unready(sock: Path) -> str:
    """Empty: it is ready."""
    try:
        status, body = await get(sock, "/readyz")
        checks = msgspec.json.decode(body)["checks"]
    except (OSError, TimeoutError, ValueError, LookupError, TypeError) as error:
        return f"does not answer ({type(error).__name__})"
    failed = [f"{name}: {why}" for name, why in checks.items() if why != "ok"]
    return "; ".join(failed) or ("" if status == 200 else f"says {status}")


def age_s(process: Process) -> float:
    """Seconds since its start, by the kernel's count of ticks since boot (proc(5), stat field 22)."""
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - process.start_ticks / os.sysconf("SC_CLK_TCK")


def judge(seen: Seen) -> list[Finding]:
    if not seen.up:
        then = (
            "`portcullis up` starts it. If it should be running, read the end of "
            f"{seen.logs}/supervisor.log first."
        )
        return [Finding(SUBJECT, "supervisor", "wrong", "nothing of ours runs here", then)]
    return [_supervisor(seen), *(_one(seen, name) for name in seen.expected), *_newer(seen)]


def _supervisor(seen: Seen) -> Finding:
    if not seen.ready:
        then = "It is starting, or a part never became ready: see the others here."
        return Finding(SUBJECT, "supervisor", "warning", "not everything was ready yet", then)
    return well(SUBJECT, "supervisor", f"runs, {len(seen.processes)} processes")


def _one(seen: Seen, name: str) -> Finding:
    process, log = seen.processes.get(name), seen.logs / f"{name}.log"
    if process is None:
        then = (
            f"Read the end of {log}. The supervisor tries again within 5 s, unless it ended "
            "with status 78"
            " (settings, or a refused PIN): then put that right, `portcullis down`, "
            "`portcullis up`."
        )
        return Finding(SUBJECT, name, "wrong", "is not running", then)
    up_s = seen.up_s[name]
    text = f"pid {process.pid}, up {_long(up_s)}, started again {process.restarts} times"
    if why := seen.unready.get(name):
        then = (
            f"It waits for what is named here, and goes on by itself when that is back. Log: {log}"
        )
        return Finding(SUBJECT, name, "wrong", f"not ready: {why}", then)
    if process.restarts and up_s < LATELY_S:
        level: Level = "wrong" if process.restarts >= OFTEN else "warning"
        then = (
            f"It ended lately and was started again. Why, the end of {log} says, just before the "
            "last `started`."
        )
        return Finding(SUBJECT, name, level, text, then)
    return well(SUBJECT, name, text)


def _newer(seen: Seen) -> list[Finding]:
    if not seen.settings_newer:
        return []
    then = (
        "What runs has the old settings. `portcullis preflight`, then `portcullis down` and "
        "`portcullis up`."
    )
    return [Finding(SUBJECT, "settings", "warning", "changed after the start", then)]


def _long(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
