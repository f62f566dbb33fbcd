"""The Debian packages as a small apt repository, and what each of them says of itself."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ops.bundle.debian import Target
from ops.bundle.failed import run
from ops.bundle.names import DEBIAN, INDEX, RELEASE

ORIGIN = "Portcullis"
"""Whose packages these are: ansible/roles/base lets unattended upgrades take them on hosts without internet."""

_LICENCE = re.compile(r"(?m)^License: *(\S.*?) *$")


class Package(NamedTuple):
    """A Debian package. `licences`: the short names of its machine-readable copyright file, if it has one."""

    name: str
    version: str
    architecture: str
    file: str
    sha256: str
    licences: tuple[str, ...]


def index(root: Path, target: Target, epoch: int) -> list[Package]:
    """Write Packages and Release over what is in debian/; what is there. Raises BundleFailed."""
    place = root / DEBIAN
    text = run(["dpkg-scanpackages", "--multiversion", "."], "the index of packages", cwd=place)
    (root / INDEX).write_text(text)
    (root / RELEASE).write_text(release(text.encode(), target, epoch))
    return [_package(entry, place) for entry in text.strip().split("\n\n")]


def release(index: bytes, target: Target, epoch: int) -> str:
    """The Release file of a flat repository with this index. Pure."""
    date = datetime.fromtimestamp(epoch, UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
    return (
        f"Origin: {ORIGIN}\nLabel: {ORIGIN}\nSuite: {target.suite}\nCodename: {target.suite}\n"
        f"Date: {date}\nArchitectures: {target.architecture}\n"
        f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n"
    )


def _package(entry: str, place: Path) -> Package:
    said = dict(re.findall(r"(?m)^([A-Za-z0-9-]+): *(.*)$", entry))
    file = said["Filename"].removeprefix("./")
    return Package(
        said["Package"], said["Version"], said["Architecture"], f"{DEBIAN}/{file}", said["SHA256"],
        licences_of(_copyright(place / file, said["Package"])),
    )  # fmt: skip


def licences_of(copyright_file: str) -> tuple[str, ...]:
    """The short names in a machine-readable copyright file (DEP-5); none in one of prose. Pure."""
    if not copyright_file.lstrip().startswith("Format:"):
        return ()
    return tuple(sorted(set(_LICENCE.findall(copyright_file))))


def _copyright(package: Path, name: str) -> str:
    """Empty where the package has a link to another's."""
    wanted = f"./usr/share/doc/{name}/copyright"
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpacking,
        tarfile.open(fileobj=unpacking.stdout, mode="r|") as tar,
    ):
        for member in tar:
            file = tar.extractfile(member) if member.name == wanted and member.isreg() else None
            if file is not None:
                text = file.read().decode(errors="replace")
                unpacking.kill()
                return text
    return ""
