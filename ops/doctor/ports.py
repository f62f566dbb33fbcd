"""The listeners' ports: do we have them, does somebody else, and do connections queue up before them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from ops.doctor.finding import Finding, well
from ops.doctor.looking import Ground, in_thread

SUBJECT = "ports"
LISTENS = "0A"
QUEUE_LONG = 64


class Holder(NamedTuple):
    """A process that has the listening socket."""

    pid: int
    name: str


class Port(NamedTuple):
    """One listener of ours. `port` 0: nobody has chosen one. `listened`: somebody listens there.

    `holders`: who, as far as we may see it (other users' processes only root sees). `ours`: one of
    them is our supervisor. `queue`: connections that nobody has accepted yet.
    """

    listener: str
    host: str
    port: int
    up: bool
    listened: bool
    ours: bool
    holders: tuple[Holder, ...] = ()
    queue: int = 0


async def examine(ground: Ground) -> list[Finding]:
    return [judge(one) for one in await in_thread(look, ground)]


def look(ground: Ground) -> list[Port]:
    own = ground.settings
    sockets = list(listening())
    supervisor = None if ground.state is None else ground.state.supervisor
    found = []
    for listener, at_which in own.listeners.items():
        if at_which.address is None:
            continue  # behind a proxy: proxied.py
        host, port = at_which.address
        if ground.state is not None:
            port = urlsplit(ground.state.urls.get(listener, "")).port or port
        here = {inode: queue for at, inode, queue in sockets if port and at == port}
        holders = _holders(set(here))
        found.append(
            Port(
                listener, host, port, up=ground.is_up, listened=bool(here),
                ours=supervisor is not None
                and any(one.pid == supervisor.pid for one in holders),
                holders=tuple(holders), queue=max(here.values(), default=0),
            )
        )  # fmt: skip
    return found


def judge(seen: Port) -> Finding:
    what = f"{seen.listener}, {seen.host} port {seen.port or '(any)'}"
    who = (
        ", ".join(f"{one.name} (pid {one.pid})" for one in seen.holders) or "another user's process"
    )
    if not seen.up:
        if seen.listened:
            then = (
                f"A start would fail. `ss -ltnp sport = :{seen.port}` says who it is; end that, "
                "or take another port."
            )
            return Finding(SUBJECT, what, "wrong", f"we are down, and {who} listens there", then)
        return well(SUBJECT, what, "free; nothing of ours runs")
    if not seen.listened:
        then = "The supervisor holds it while it lives: `portcullis down`, then `portcullis up`."
        return Finding(SUBJECT, what, "wrong", "nobody listens", then)
    if not seen.ours and seen.holders:
        then = (
            f"Our senders reach somebody else. `ss -ltnp sport = :{seen.port}`, and who started "
            "that?"
        )
        return Finding(SUBJECT, what, "wrong", f"{who} listens there, and not we", then)
    if seen.queue > QUEUE_LONG:
        then = (
            f"The {seen.listener} processes do not keep up: see processes and kernel; more of "
            "them help."
        )
        return Finding(
            SUBJECT, what, "warning", f"{seen.queue} connections wait to be accepted", then
        )
    return well(SUBJECT, what, f"we listen; {seen.queue} connections wait")


def listening() -> Iterator[tuple[int, str, int]]:
    """Port, socket inode and length of the accept queue of each TCP listener (proc_net_tcp)."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTENS:
                yield (
                    int(fields[1].rsplit(":", 1)[1], 16),
                    fields[9],
                    int(fields[4].split(":")[1], 16),
                )


def _holders(inodes: set[str]) -> list[Holder]:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found = []
    for process in Path("/proc").iterdir() if wanted else ():
        if not process.name.isdigit():
            continue
        try:
            sockets = {_link(one) for one in (process / "fd").iterdir()}
            if wanted & sockets:
                found.append(Holder(int(process.name), (process / "comm").read_text().strip()))
        except OSError:
            continue  # it ended, or is another user's
    return sorted(found)


def _link(path: Path) -> str:
    """Where a descriptor leads; empty for one that was closed meanwhile, as that of the listing itself."""
    try:
        return os.readlink(path)
    except OSError:
        return ""
