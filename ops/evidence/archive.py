"""The archive: a .tar.gz whose last file, MANIFEST.json, names every other with its SHA-256.

Only its maker's user may read it. `check()` tells years later whether it is what was written: the
archive's own SHA-256 belongs on paper, into the incident's log, at the moment when it is made.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from ops.masking import Masker

MANIFEST = "MANIFEST.json"
LARGEST_BYTES = 1 << 30


class Done(NamedTuple):
    """Where the archive is, and its sum."""

    path: Path
    sha256: str
    bytes: int


class Archive:
    """Takes files one after the other. Until close() it is a `.part`, which an error leaves none of."""

    def __init__(self, directory: Path, name: str, masker: Masker) -> None:
        """Raises OSError."""
        self.masker = masker
        self.entries: list[dict[str, Any]] = []
        self.leaked: tuple[str, ...] = ()
        self._name = name
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = directory / f"{name}.tar.gz"
        self._part = directory / f"{name}.tar.gz.part"
        handle = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(handle, "wb")
        self._tar = tarfile.TarFile.gzopen("", "w", self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._file.closed:
            self._file.close()
        self._part.unlink(missing_ok=True)

    def add(self, name: str, content: str | bytes, source: str, *, exact: bool = False) -> str:
        """Write one file; empty, or why it was not taken."""
        before = self.masker.found
        text = content if isinstance(content, str) else content.decode(errors="backslashreplace")
        kept = self.masker.text(text)
        if self.masker.found > before:
            self.leaked = (*self.leaked, name)
            if exact:
                return "a secret of this host stands in it, and masking would break what was signed"
        data = _bytes(content) if exact else kept.encode()
        self.entries.append(
            {
                "name": name, "sha256": sha256(data).hexdigest(), "bytes": len(data),
                "taken_at": datetime.now(UTC), "source": source,
            }
        )  # fmt: skip
        self._write(name, data)
        return ""

    def close(self, facts: Mapping[str, Any]) -> Done:
        """Write the manifest, flush, and give the archive its name. Raises OSError."""
        said = {**facts, "files": self.entries}
        self._write(MANIFEST, msgspec.json.format(msgspec.json.encode(said, enc_hook=str)))
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._path)
        _flush(self._path.parent)
        data = self._path.read_bytes()
        return Done(self._path, sha256(data).hexdigest(), len(data))

    def _write(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(f"{self._name}/{name}")
        info.size, info.mode = len(data), 0o400
        info.mtime = int(datetime.now(UTC).timestamp())
        self._tar.addfile(info, io.BytesIO(data))


class Checked(NamedTuple):
    """`faults`: what is not as the manifest says; empty: the archive is whole."""

    facts: Mapping[str, Any]
    faults: tuple[str, ...]


def check(path: Path) -> Checked:
    """Compare an archive with its own manifest. Raises OSError; tarfile.TarError where it is none."""
    found: dict[str, str] = {}
    facts: dict[str, Any] | None = None
    faults = []
    with tarfile.open(path, "r:gz") as tar:
        for member in tar:
            name = member.name.partition("/")[2]
            opened = tar.extractfile(member) if member.size <= LARGEST_BYTES else None
            if opened is None:
                faults.append(f"{member.name} is no ordinary file")
            elif name == MANIFEST:
                facts = msgspec.json.decode(opened.read())
            elif name in found:
                faults.append(f"{name} is there twice")
            else:
                found[name] = sha256(opened.read()).hexdigest()
    if facts is None:
        return Checked({}, (*faults, f"it has no {MANIFEST}"))
    named = {one["name"]: one["sha256"] for one in facts["files"]}
    faults += [f"{name} is missing" for name in named if name not in found]
    faults += [f"{name} is not in the manifest" for name in found if name not in named]
    faults += [
        f"{name} was altered" for name in found if named.get(name, found[name]) != found[name]
    ]
    return Checked(facts, tuple(faults))


def holding(path: Path, masker: Masker) -> tuple[str, ...]:
    """Names of the files in which a secret stands that the masker knows. Raises as check() does."""
    found = []
    with tarfile.open(path, "r:gz") as tar:
        for member in tar:
            before = masker.found
            opened = tar.extractfile(member)
            if opened is not None:
                masker.text(opened.read().decode(errors="backslashreplace"))
            if masker.found > before:
                found.append(member.name.partition("/")[2])
    return tuple(found)


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _flush(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
