"""Our processes: is each there and ready, how often was it started again, and with which settings?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from ops.doctor.finding import Finding, Level, well
from ops.doctor.looking import Ground
from ops.probe import get
from ops.processes import doors, planned
from ops.running import Found, Running

SUBJECT = "processes"
LATELY_S = 600.0
OFTEN = 3


class Seen(NamedTuple):
    """`supervised`: by us, and not by another init system. `expected`: every name by the settings.

    `up_s`: how long each has run, as far as it may be seen. `unready`: what `/readyz` says is wrong, by process
    and check. `settings_newer`: the file was changed after somebody had read it.
    """

    up: bool
    supervised: bool = True
    ready: bool = False
    expected: tuple[str, ...] = ()
    processes: Mapping[str, Found] = {}
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
    changed = datetime.fromtimestamp(ground.file.stat().st_mtime, UTC)
    read = [one.since for one in (state.supervisor, *state.processes.values()) if one and one.since]
    now = datetime.now(UTC)
    return Seen(
        up=True, supervised=state.supervisor is not None, ready=state.ready, logs=logs,
        expected=_expected(ground, state),
        processes=state.processes,
        up_s={
            name: (now - one.since).total_seconds()
            for name, one in state.processes.items()
            if one.since is not None
        },
        unready={name: why for name, why in zip(asked, said, strict=True) if why and name in state.processes},
        settings_newer=any(changed > since for since in read),
    )  # fmt: skip


def _expected(ground: Ground, state: Running) -> tuple[str, ...]:
    """By the settings. Another init system keeps PostgreSQL and Redis, too: they are looked at by themselves."""
    if state.supervisor is None:
        return tuple(doors(ground.settings))
    return tuple(one.name for one in planned(ground.settings))


async def _unready(sock: Path) -> str:
    """Empty: it is ready."""
    try:
        status, body = await get(sock, "/readyz")
        checks = msgspec.json.decode(body)["checks"]
    except (OSError, TimeoutError, ValueError, LookupError, TypeError) as error:
        return f"does not answer ({type(error).__name__})"
    failed = [f"{name}: {why}" for name, why in checks.items() if why != "ok"]
    return "; ".join(failed) or ("" if status == 200 else f"says {status}")


def judge(seen: Seen) -> list[Finding]:
    if not seen.up:
        then = (
            "`portcullis up` starts it, or `systemctl start portcullis.target` where it is installed as units. "
            f"If it should be running, read the end of {seen.logs}/supervisor.log or of the journal first."
        )
        return [Finding(SUBJECT, "supervisor", "wrong", "nothing of ours runs here", then)]
    return [_supervisor(seen), *(_one(seen, name) for name in seen.expected), *_newer(seen)]


def _log(seen: Seen, name: str) -> str:
    return f"{seen.logs}/{name}.log" if seen.supervised else "`journalctl -u 'portcullis-*'`"


def _again(seen: Seen) -> str:
    """How all of it is started anew."""
    if seen.supervised:
        return "`portcullis down`, `portcullis up`"
    return "`systemctl restart portcullis.target`"


def _supervisor(seen: Seen) -> Finding:
    if not seen.ready:
        then = "It is starting, or a part never became ready: see the others here."
        return Finding(SUBJECT, "supervisor", "warning", "not everything was ready yet", then)
    who = "runs" if seen.supervised else "none of ours: another init system keeps them running"
    return well(SUBJECT, "supervisor", f"{who}, {len(seen.processes)} processes")


def _one(seen: Seen, name: str) -> Finding:
    process, log = seen.processes.get(name), _log(seen, name)
    if process is None:
        then = (
            f"Read the end of {log}. It is started again within 5 s, unless it ended with status 78"
            f" (settings, or a refused PIN): then put that right, {_again(seen)}."
        )
        return Finding(SUBJECT, name, "wrong", "is not running", then)
    if why := seen.unready.get(name):
        then = (
            f"It waits for what is named here, and goes on by itself when that is back. Log: {log}"
        )
        return Finding(SUBJECT, name, "wrong", f"not ready: {why}", then)
    text, up_s = f"pid {process.pid}", seen.up_s.get(name)
    if up_s is not None:
        text += f", up {_long(up_s)}"
    if process.restarts is not None:
        text += f", started again {process.restarts} times"
    if process.restarts and up_s is not None and up_s < LATELY_S:
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
    then = f"What runs has the old settings. `portcullis preflight`, then {_again(seen)}."
    return [Finding(SUBJECT, "settings", "warning", "changed after the start", then)]


def _long(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
