"""Who may read and write what is ours on disk: settings, keys, sockets, logs, stores.

The PINs' files and the TLS keys are preflight's. Owners differ where each process runs as a user of its
own, so the owner that is right is whoever owns `var`, or root; of a daemon's own files, any one user.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ops.doctor.finding import Finding, well
from ops.doctor.looking import Ground, in_thread

SUBJECT = "files"
NOBODY_ELSE, READ_ONLY = 0o077, 0o022
"""Bits that must not be set."""


class Seen(NamedTuple):
    """`mode`: None where it is not there, `why` where it cannot be looked at."""

    what: str
    path: Path
    mode: int | None
    uid: int
    forbidden: int
    owners: frozenset[int]
    why: str = ""


async def examine(ground: Ground) -> list[Finding]:
    return judge(await in_thread(look, ground))


def look(ground: Ground) -> list[Seen]:
    own = ground.settings
    owners = frozenset({0, os.geteuid(), _owner(own.instance.var)})
    wanted = [
        ("settings", ground.file, READ_ONLY, owners),
        ("var", own.instance.var, READ_ONLY, owners),
        ("runtime", own.instance.runtime, READ_ONLY, owners),
        ("audit store", own.recorder.store, READ_ONLY, frozenset()),
        ("spill", own.worker.spill or own.instance.var / "spill", NOBODY_ELSE, owners),
        ("secrets", own.instance.var / "secrets", NOBODY_ELSE, owners),
        ("signer's settings", own.hsm.signer_config, READ_ONLY, frozenset()),
        ("enroller's settings", own.hsm.enroller_config, READ_ONLY, frozenset()),
        ("logs", own.instance.var / "log", READ_ONLY, frozenset()),
        *((path.name, path, NOBODY_ELSE, owners) for path in _keys(own.instance.var)),
        *((path.name, path, 0o007, frozenset()) for path in _sockets(own.instance.runtime)),
    ]
    return [_one(what, path, forbidden, who) for what, path, forbidden, who in wanted]


def judge(seen: list[Seen]) -> list[Finding]:
    faults = [finding for one in seen if (finding := _judge(one)) is not None]
    fine = len(seen) - len(faults)
    return [*faults, well(SUBJECT, "rights and owners", f"{fine} of {len(seen)} as they should be")]


def _judge(seen: Seen) -> Finding | None:
    what = f"{seen.what}, {seen.path}"
    if seen.why:
        return Finding(SUBJECT, what, "unseen", seen.why, "Ask as its owner, or as root.")
    if seen.mode is None:
        return None  # what must be there, preflight misses
    if stat.S_ISLNK(seen.mode):
        then = "Put the file itself there: who can change the link decides what we read."
        return Finding(SUBJECT, what, "warning", "is a symbolic link", then)
    if seen.mode & seen.forbidden:
        does = "write" if seen.mode & seen.forbidden & 0o022 else "read"
        then = (
            f"`chmod {_right(seen):o} {seen.path}`. Who could {does} it until now? If anybody: "
            "docs/operating/incident.md."
        )
        return Finding(
            SUBJECT,
            what,
            "wrong",
            f"mode {stat.S_IMODE(seen.mode):04o}: others may {does} it",
            then,
        )
    if seen.owners and seen.uid not in seen.owners:
        then = f"`chown` it to the user that runs us; and how came {seen.path} to that user?"
        return Finding(SUBJECT, what, "wrong", f"belongs to user {seen.uid}", then)
    return None


def _right(seen: Seen) -> int:
    assert seen.mode is not None
    return stat.S_IMODE(seen.mode) & ~seen.forbidden


def _one(what: str, path: Path, forbidden: int, owners: frozenset[int]) -> Seen:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return Seen(what, path, None, 0, forbidden, owners)
    except OSError as error:
        return Seen(what, path, None, 0, forbidden, owners, f"{error.strerror}")
    return Seen(what, path, found.st_mode, found.st_uid, forbidden, owners)


def _owner(path: Path) -> int:
    try:
        return path.stat().st_uid
    except OSError:
        return os.geteuid()


def _keys(var: Path) -> Iterator[Path]:
    """Keys of the API that lie here, and the host's own to its spills."""
    yield from sorted((var / "secrets" / "keys").glob("*.key"))
    yield from sorted((var / "spill").glob("*.key"))


def _sockets(runtime: Path) -> Iterator[Path]:
    """Where a directory lets nobody in, its sockets' modes do not matter; those of the doors do."""
    yield from sorted(runtime.glob("*.sock"))
