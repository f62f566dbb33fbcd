"""What runs on this host, whoever started it: our supervisor, as state.json says, or units of another init
system, as their sockets say.

Each process of ours listens on a Unix socket of its own, and the kernel knows who does (unix(7), SO_PEERCRED of
who connects). No pid file and no question to an init system is needed, so the same holds under systemd, in a
container and by hand. Under another init system nobody of ours counts how often a process was started again; and
who may not look into /proc (ProtectProc=invisible) learns no more of another user's process than its pid. Both are
None here, never a guess.
"""

from __future__ import annotations

import os
import socket
import struct
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ops.processes import doors
from ops.settings import Settings
from ops.state import Process, State, identify, read_state

CONNECT_S = 1.0
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Found(msgspec.Struct, frozen=True):
    """One process. `restarts`: None where nobody of ours counts. `since`: None where it may not be seen."""

    pid: int
    restarts: int | None
    since: datetime | None


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """All of ours. `supervisor`: None where another init system started them. `ready`: every process was ready
    once (supervised), or is there. `urls` by listener. `health`: the socket of each that should have one.
    """

    supervisor: Found | None
    ready: bool
    urls: dict[str, str]
    processes: dict[str, Found]
    health: dict[str, Path]


def running(settings: Settings) -> Running | None:
    """None where nothing of ours runs. Raises ConfigurationError where state.json is not one."""
    state = read_state(settings.instance.runtime / "state.json")
    return _units(settings) if state is None else supervised(state)


def supervised(state: State) -> Running:
    """What state.json says."""
    return Running(
        supervisor=_found(state.supervisor), ready=state.ready, urls=state.urls, health=state.health,
        processes={name: _found(one) for name, one in state.processes.items()},
    )  # fmt: skip


def _units(settings: Settings) -> Running | None:
    ours = doors(settings)
    pids = {name: _listener(one.path) for name, one in ours.items()}
    there = {name: _by_pid(pid) for name, pid in pids.items() if pid is not None}
    if not there:
        return None
    return Running(
        supervisor=None, ready=there.keys() == ours.keys(), processes=there,
        urls={name: at.base_url for name, at in settings.listeners.items()},
        health={name: one.path for name, one in ours.items() if one.tells_health},
    )  # fmt: skip


def _listener(path: Path) -> int | None:
    """The pid of who listens there; None: nobody, or nobody who lets us in."""
    asking = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    asking.settimeout(CONNECT_S)
    try:
        asking.connect(str(path))
        raw = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    except OSError:
        return None
    finally:
        asking.close()
    pid: int = _PEER.unpack(raw)[0]
    return pid


def _by_pid(pid: int) -> Found:
    process = identify(pid)
    return Found(pid, None, None if process is None else started_at(process))


def _found(process: Process) -> Found:
    return Found(process.pid, process.restarts, started_at(process))


def started_at(process: Process) -> datetime:
    """By the kernel's count of ticks since boot (proc(5), stat field 22). Raises OSError without /proc/uptime."""
    up_s = float(Path("/proc/uptime").read_text().split()[0])
    booted = datetime.now(UTC).timestamp() - up_s
    return datetime.fromtimestamp(booted + process.start_ticks / os.sysconf("SC_CLK_TCK"), UTC)
