"""What is in a bundle, read from its directory or from its archive alike. Standard library only.

Nothing is unpacked: each file becomes its SHA-256, and the few that say something are kept to be read.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from ops.bundle.names import (
    COLLECTIONS_LOCK,
    INDEX,
    LOCK,
    MANIFEST,
    SBOM,
    SIGNATURE,
    SUMS,
)

KEPT = frozenset((MANIFEST, LOCK, COLLECTIONS_LOCK, INDEX, SBOM, SUMS, SIGNATURE))
KEPT_BYTES_MAX = 64 << 20
CHUNK = 1 << 20


class Contents(NamedTuple):
    """`sums`: the SHA-256 of every file by its path; `faults`: what no bundle would hold."""

    sums: dict[str, str]
    texts: dict[str, bytes]
    faults: list[str]


def read(path: Path) -> Contents:
    """Of a directory, or else of an archive. Raises OSError; tarfile.TarError where it is none."""
    contents = Contents({}, {}, [])
    for name, file in _files(path, contents.faults):
        if name in contents.sums:
            contents.faults.append(f"{name}: is there twice, should be once")
        with file:
            contents.sums[name], contents.texts[name] = _taken(file, name in KEPT)
        if name not in KEPT:
            del contents.texts[name]
    return contents


def sum_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(path: Path, faults: list[str]) -> Iterator[tuple[str, IO[bytes]]]:
    return _of_directory(path, faults) if path.is_dir() else _of_archive(path, faults)


def _of_directory(root: Path, faults: list[str]) -> Iterator[tuple[str, IO[bytes]]]:
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not path.is_symlink():
            yield name, path.open("rb")
        elif path.is_symlink() or not path.is_dir():
            faults.append(
                f"{name}: is neither a file nor a directory, and nothing else may be here"
            )


def _of_archive(path: Path, faults: list[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Paths below the archive's one directory, whatever its name is."""
    tops = set()
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            top, _, name = member.name.partition("/")
            tops.add(top)
            file = tar.extractfile(member) if member.isreg() else None
            if file is not None and name and ".." not in name.split("/"):
                yield name, file
            elif not member.isdir():
                faults.append(f"{member.name}: is no file below the archive's one directory")
    if len(tops) != 1:
        faults.append(f"{path.name}: holds {len(tops)} directories side by side, should be one")


def _taken(file: IO[bytes], keep: bool) -> tuple[str, bytes]:
    digest, kept = hashlib.sha256(), b""
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        if keep and len(kept) <= KEPT_BYTES_MAX:
            kept += chunk
    return digest.hexdigest(), kept
