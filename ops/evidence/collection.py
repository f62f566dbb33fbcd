"""One collection: who, when, since when, from which parts, into which archive.

1. Read the host's own secrets, to be able to see that none of them leaves (known_secrets.py).
2. Ask every part for its files, one part after the other, each within its own time. What does not
   answer, breaks or may not be read is listed with the reason, and the others go on.
3. Mask each file, and write it with its SHA-256 and the time when it was taken (archive.py).
4. Write the manifest last, and give the archive its name. *Crash before: a `.part` that is nobody's
   evidence; after: it is whole.*

Nothing of the product is changed: no row, no file, no record. Parts are asked one after the other,
because a host in trouble is not to be loaded by those who look at it.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import platform
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ops.clock.agent import clock_file
from ops.doctor.looking import Ground, in_thread
from ops.evidence.archive import Archive
from ops.evidence.known_secrets import known_secrets
from ops.masking import Masker
from tenancy.clock_file import ClockFile
from tenancy.errors import ConfigurationError

FORMAT = "portcullis-evidence@v1"


class File(NamedTuple):
    """`exact`: signed bytes, which masking would break; they go in as they are, or not at all."""

    name: str
    content: str | bytes
    source: str
    exact: bool = False


class Wish(NamedTuple):
    """What somebody asked for. `attached`: a directory of what others said; `secrets`: files of secrets
    that the settings do not name, and that are looked for as those are."""

    ground: Ground
    since: datetime
    by: str
    why: str
    attached: Path | None = None
    secrets: tuple[Path, ...] = ()


class Gap(NamedTuple):
    """What is not in the archive, and why."""

    what: str
    why: str


Take = Callable[[Wish], AsyncIterator["File | Gap"]]


class Part(NamedTuple):
    """One kind of evidence."""

    what: str
    take: Take
    within_s: float


class Collected(NamedTuple):
    """`leaked`: files in which a secret of this host stood, and was masked."""

    path: Path
    sha256: str
    files: int
    bytes: int
    gaps: tuple[Gap, ...]
    leaked: tuple[str, ...]


async def collect(wish: Wish, directory: Path, parts: tuple[Part, ...]) -> Collected:
    """Make the archive in `directory`. Raises ConfigurationError where it must not lie there, OSError."""
    check_place(wish.ground, directory)
    began = datetime.now(UTC)
    clock = ClockFile(clock_file(wish.ground.settings.instance.runtime))
    known = await in_thread(known_secrets, wish.ground.settings, wish.secrets)
    masker = Masker(known.values)
    name = f"portcullis-evidence-{wish.ground.settings.instance.name}-{began:%Y%m%dT%H%M%SZ}"
    gaps = [Gap(f"secrets of {path}, to look for them", why) for path, why in known.unread]
    with Archive(directory, name, masker) as archive:
        for part in parts:
            gaps += await _take(part, wish, archive)
        facts = _facts(wish, began, clock.quality().words, masker, gaps, archive)
        done = archive.close(facts)
    return Collected(
        done.path, done.sha256, len(archive.entries), done.bytes, tuple(gaps), archive.leaked
    )


def check_place(ground: Ground, directory: Path) -> None:
    """Raises ConfigurationError where the archive would lie in what is examined."""
    var = ground.settings.instance.var.resolve()
    target = directory.resolve()
    if target == var or var in target.parents:
        raise ConfigurationError(
            f"--out {directory} lies in {var}: evidence is not kept in what is examined."
            " Name a directory elsewhere, best on another disk"
        )


async def _take(part: Part, wish: Wish, archive: Archive) -> list[Gap]:
    """The part's files go into the archive as they come: what came before a deadline is kept."""
    gaps: list[Gap] = []
    try:
        async with asyncio.timeout(part.within_s):
            async for one in part.take(wish):
                if isinstance(one, Gap):
                    gaps.append(one)
                elif why := archive.add(one.name, one.content, one.source, exact=one.exact):
                    gaps.append(Gap(one.name, why))
    except TimeoutError:
        gaps.append(Gap(part.what, f"it was not all there within {part.within_s:g} s"))
    except Exception as error:  # a part that breaks must not take the others with it
        text = archive.masker.text(" ".join(str(error).split()))
        gaps.append(Gap(part.what, f"{type(error).__name__}: {text}"))
    return gaps


def _facts(
    wish: Wish, began: datetime, clock: str, masker: Masker, gaps: list[Gap], archive: Archive
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "instance": wish.ground.settings.instance.name,
        "host": platform.node(),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "collected_by": {
            "said": wish.by, "user": _user(), "uid": os.geteuid(), "sudo": os.environ.get("SUDO_USER"),
        },
        "why": masker.text(wish.why),
        "began_at": began,
        "ended_at": datetime.now(UTC),
        "since": wish.since,
        "clock": clock,
        "masked": {"spellings_known": masker.known, "found_by_value": masker.found, "in": archive.leaked},
        "not_collected": [gap._asdict() for gap in gaps],
    }  # fmt: skip


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def as_json(value: Any) -> str:
    """How every JSON file of an archive is written."""
    encoded = msgspec.json.encode(value, enc_hook=str, order="deterministic")
    return msgspec.json.format(encoded).decode() + "\n"
