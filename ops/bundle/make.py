"""Make a bundle. The order is the promise.

1. Refuse what can be known beforehand: a place that is taken, no key, a changed checkout, a missing program.
2. Work in a directory beside the place, under another name: an error, or an end halfway, leaves no bundle.
3. Copy the checkout; what follows is read from the copy. Then wheels, the controller's wheels, Debian packages.
4. Refuse what may not ship. Describe: SBOM, vulnerabilities, manifest.
5. Sum and sign, and check the whole as whoever gets it will.
6. Write the archive. Give the directory its name, then the archive: it is there when all is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import NAMESPACE_OID, uuid5

import msgspec

from ops.bundle import archive, checkout, contents, debian, names, repository, wheels
from ops.bundle import signature as signing
from ops.bundle import vulnerabilities as audit
from ops.bundle.checkout import Checkout
from ops.bundle.debian import Target
from ops.bundle.distribution import Distribution, of_wheel
from ops.bundle.failed import BundleFailed, need, run
from ops.bundle.licences import refused
from ops.bundle.lock import Pin, applying, pins_of
from ops.bundle.packages import Wanted, wanted
from ops.bundle.repository import Package
from ops.bundle.sbom import sbom
from ops.bundle.verify import judge

CONTROLLER = "ansible"
"""What the controller installs: with all that it needs, as requirements/hosts.lock pins it."""

SHOWN_MAX = 5

Say = Callable[[str], None]


class Wish(NamedTuple):
    """What is asked for. `python`: the hosts' own, Debian's. `epoch`: what stands for the time in all that is
    made (SOURCE_DATE_EPOCH); None: the commit's, and now where the making itself is meant. `kept`: where Debian
    packages stay for another time (pip keeps its own); None: nowhere."""

    out: Path
    key: Path
    source: Path
    dirty: bool = False
    epoch: int | None = None
    kept: Path | None = None
    python: Path = Path("/usr/bin/python3")


class Made(NamedTuple):
    """Where it is. `sums`: the SHA-256 of SHA256SUMS, which names the whole of it."""

    directory: Path
    archive: Path
    sums: str
    wheels: int
    packages: int
    bytes: int


class Work(NamedTuple):
    """What every step is told. `root`: the bundle as it grows; `source`: the copy; `scratch`: for the rest."""

    wish: Wish
    found: Checkout
    target: Target
    root: Path
    source: Path
    scratch: Path
    epoch: int
    made_at: datetime
    say: Say


class Parts(NamedTuple):
    """What is in it. `built`: wheels made here, because the index has only the source."""

    own: Distribution
    runtime: list[Distribution]
    controller: list[Distribution]
    built: list[str]
    python: str
    wanted: list[Wanted]
    packages: list[Package]


def make(wish: Wish, now: datetime, say: Say) -> Made:
    """All of it. Raises BundleFailed, with nothing left; OSError, the same."""
    found, target = _refuse(wish)
    at = _archive(wish, found)
    wish.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{wish.out.name}.", dir=wish.out.parent) as made:
        scratch = Path(made)
        root, source = scratch / "bundle", scratch / "source"
        root.mkdir()
        work = Work(
            wish, found, target, root, source, scratch,
            epoch=found.time if wish.epoch is None else wish.epoch,
            made_at=now if wish.epoch is None else datetime.fromtimestamp(wish.epoch, UTC), say=say,
        )  # fmt: skip
        parts = _gather(work)
        _describe(work, parts)
        sums = _sign(work)
        say("the archive")
        archive.write(root, names.stem(found.version), scratch / at.name, work.epoch)
        root.rename(wish.out)
        (scratch / at.name).rename(at)
    shipped = 1 + len(parts.runtime) + len(parts.controller)
    return Made(wish.out, at, sums, shipped, len(parts.packages), at.stat().st_size)


def _archive(wish: Wish, found: Checkout) -> Path:
    return wish.out.parent / f"{names.stem(found.version)}.tar"


def _refuse(wish: Wish) -> tuple[Checkout, Target]:
    """Step 1. Raises BundleFailed."""
    found = checkout.look(wish.source)
    for place in (wish.out, _archive(wish, found)):
        if place.exists():
            raise BundleFailed(f"{place} exists already: name another place, or remove it")
    if found.changed and not wish.dirty:
        shown = ", ".join(found.changed[:SHOWN_MAX]) + (" …" if found.changed[SHOWN_MAX:] else "")
        raise BundleFailed(
            f"{wish.source} is not as commit {found.commit[:12]} has it ({shown}): commit it, or ask for"
            " --dirty, which the manifest then says"
        )
    need("ssh-keygen", "openssh-client")
    try:
        signing.check_key(wish.key)
    except signing.BadSignature as error:
        raise BundleFailed(f"{error}; `ssh-keygen -t ed25519 -f FILE` makes one") from None
    run([str(wish.python), "-c", "import ensurepip"], f"{wish.python}: apt install python3-venv")
    return found, debian.target()


def _gather(work: Work) -> Parts:
    """Step 3."""
    checkout.copy(work.wish.source, work.source)
    archive.write(
        work.source, f"{checkout.NAME}-{work.found.version}", work.root / names.SOURCE, work.epoch
    )
    locks = work.source / "requirements"
    runtime = pins_of((locks / "runtime.lock").read_text())
    pip = wheels.pip(work.wish.python, runtime, work.scratch / "python", work.epoch)
    environment = pip.environment()
    work.say("wheels of the product")
    place = work.root / names.WHEELS
    runtime = applying(runtime, environment)
    pip.wheels(runtime, place)
    built = _lock(runtime, place, work.root / names.LOCK)
    wheel = pip.own(work.source, work.scratch / "own")
    wheel = wheel.rename(work.root / wheel.name)
    work.say("wheels of the controller")
    tools = work.root / names.COLLECTIONS
    hosts = applying(pins_of((locks / "hosts.lock").read_text()), environment)
    taken = wheels.all_of(CONTROLLER, {pin.name: pin for pin in hosts}, pip, tools)
    built += _lock(taken, tools, work.root / names.COLLECTIONS_LOCK)
    asked = [debian.EVERY_DEBIAN, *wanted(work.source / "ansible")]
    work.say(f"Debian packages of {len(asked)} tasks, with all that they need")
    kept = work.wish.kept or work.scratch / "kept"
    debian.fetch(asked, work.root / names.DEBIAN, work.scratch / "apt", kept)
    return Parts(
        own=of_wheel(wheel, work.root),
        runtime=wheels.distributions(place, work.root),
        controller=wheels.distributions(tools, work.root),
        built=built, python=environment["python_full_version"], wanted=asked,
        packages=repository.index(work.root, work.target, work.epoch),
    )  # fmt: skip


def _lock(pins: list[Pin], place: Path, lock: Path) -> list[str]:
    """Write the lock of exactly these wheels; which of them were built here."""
    made = wheels.locked(pins, place)
    lock.write_text(made.text)
    return made.built


def _describe(work: Work, parts: Parts) -> None:
    """Step 4. Raises BundleFailed."""
    if unfit := refused(parts.runtime):
        raise BundleFailed("\n".join(unfit))
    work.say("the bill of materials, and known vulnerabilities")
    others = [*parts.runtime, *parts.controller]
    every = [one.sha256 for one in (parts.own, *others)] + [one.sha256 for one in parts.packages]
    document = sbom(
        parts.own, others, parts.packages, work.target.suite, work.made_at,
        uuid5(NAMESPACE_OID, " ".join(every)),
    )  # fmt: skip
    (work.root / names.SBOM).write_text(document)
    _write(work.root / names.VULNERABILITIES, audit.known(work.root / names.LOCK, work.made_at))
    _write(work.root / names.MANIFEST, manifest(work, parts))


def manifest(work: Work, parts: Parts) -> dict[str, object]:
    """What the bundle says of itself."""
    return {
        "version": work.found.version,
        "wheel": parts.own.file,
        "commit": work.found.commit,
        "changed_since_commit": work.found.changed,
        "python": parts.python,
        "suite": work.target.suite,
        "architecture": work.target.architecture,
        "made_at": work.made_at.isoformat(),
        "built_here": parts.built,
        "debian": [one._asdict() for one in parts.wanted],
        "controller": {one.name: one.licence for one in parts.controller},
    }


def _write(path: Path, said: object) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(said)) + b"\n")


def _sign(work: Work) -> str:
    """Step 5. Raises BundleFailed."""
    there = contents.read(work.root).sums
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(there.items()))
    sums = work.root / names.SUMS
    sums.write_text(lines)
    work.say("the signature")
    try:
        signing.sign(work.wish.key, sums)
    except signing.BadSignature as error:
        raise BundleFailed(str(error)) from None
    if faults := judge(contents.read(work.root)):
        raise BundleFailed("\n".join(["what was made is not whole:", *faults]))
    return contents.sum_of(sums)
