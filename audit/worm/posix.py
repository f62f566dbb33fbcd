"""One log's directory on a POSIX file system: files come into being whole, durable, and once.

1. Write into an unnamed file (O_TMPFILE), flush it to disk. *Crash: nothing is left.*
2. Give it its name (linkat fails where the name exists). *Crash: a whole file, or none.*
3. Flush the directories. Only now is the file acknowledged. *Crash before: the same bytes again.*
4. keep(): ask the sealer for the immutable flag, then read flag and bytes back. *Crash: the sealer's
   own scan finds the file.*

Where the file system has no O_TMPFILE a hidden temporary name stands in for it; one that a crash
leaves is removed at the next start. The immutable flag needs CAP_LINUX_IMMUTABLE, which the sealer
alone has (audit/worm/sealer.py). Without a sealer, or with one that does not get it done, the store
says `worm: advisory` and asks again with the next file.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from audit.manifest import File, digest
from audit.worm.immutable import file_is_immutable
from audit.worm.port import Conflict, Worm
from audit.worm.sealing import NAMES_AT_ONCE, Sealing

TEMPORARY = ".new-"
FLUSHES_AT_ONCE = 8
_NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}

T = TypeVar("T")


class PosixStore:
    """See audit.worm.port.Store. `root` is `<store>/<log id>`; without `sealing` nothing is sealed
    (a developer's machine)."""

    def __init__(self, root: Path, sealing: Sealing | None = None) -> None:
        self._root = root
        self._sealing = sealing
        self._holds = False
        self._loose: dict[str, None] = {}  # names that shall be permanent and are not, oldest first

    @property
    def worm(self) -> Worm:
        return "enforced" if self._holds and not self._loose else "advisory"

    def open(self) -> None:
        """Make the directory durable where it is new; remove what a crash left half-made.

        For the one who writes the log: what another is just making would be removed too.
        """
        _make_directories(self._root)
        for path in self._root.rglob(TEMPORARY + "*"):
            path.unlink()
        self.look()

    def look(self) -> None:
        """See whether files can be made permanent here."""
        self._holds = self._sealing is not None and self._sealing.holds(self._root.parent)

    def create(self, files: Sequence[tuple[str, bytes]], *, seal: bool) -> None:
        paths = [(self._root / name, data) for name, data in files]
        directories = {path.parent for path, _ in paths}
        for directory in directories:
            _make_directories(directory)
        _all_at_once(lambda file: self._create_one(*file), paths)
        _all_at_once(_flush_directory, directories)

    def keep(self, names: Sequence[str], until: datetime) -> list[File]:
        """The flag has no end: `until` is when an operator may take it off, and comes back as given."""
        self._seal(names)
        kept = []
        for name in names:
            data = (self._root / name).read_bytes()
            kept.append(File(name, digest(data), len(data), until))
        return kept

    def replace(self, name: str, data: bytes) -> None:
        path = self._root / name
        _make_directories(path.parent)
        temporary = _write_temporary(path.parent, data)
        os.replace(temporary, path)
        _flush_directory(path.parent)

    def read(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    def every(self, name: str) -> list[bytes]:
        """All that is there under a name: a file system has one version, or none."""
        data = self.read(name)
        return [] if data is None else [data]

    def prune(self, names: Sequence[str]) -> None:
        directories = set()
        for name in names:
            path = self._root / name
            path.unlink(missing_ok=True)
            directories.add(path.parent)
        for directory in directories:
            try:
                directory.rmdir()
            except OSError:  # a partial of another width is there still, or all is gone already
                continue

    def names(self) -> list[str]:
        found = []
        for directory, _, files in os.walk(self._root / "tile"):
            below = Path(directory).relative_to(self._root)
            found += [str(below / name) for name in files]
        return sorted(found)

    def _seal(self, names: Sequence[str]) -> None:
        if self._sealing is None:
            return
        self._loose.update(dict.fromkeys(names))
        wanted = list(self._loose)[-NAMES_AT_ONCE:]
        if not self._holds:
            self.look()
        self._sealing.seal(self._root.parent, [f"{self._root.name}/{name}" for name in wanted])
        for name in wanted:
            try:
                if file_is_immutable(self._root / name):
                    del self._loose[name]
            except FileNotFoundError:  # who asks for its bytes is told
                continue

    def _create_one(self, path: Path, data: bytes) -> None:
        if path.exists():
            _same_or_conflict(path, data)
            return
        try:
            with _unnamed(path.parent, data) as descriptor, _directory(path.parent) as directory:
                # A directory descriptor makes Python use linkat() with AT_SYMLINK_FOLLOW.
                os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=directory)
        except FileExistsError:
            _same_or_conflict(path, data)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
            _create_by_temporary_name(path, data)


def _all_at_once(act: Callable[[T], None], items: Collection[T]) -> None:
    """Do it for each, at once: flushes that wait together share the file system's commit."""
    if len(items) < 2:
        for item in items:
            act(item)
        return
    with ThreadPoolExecutor(min(len(items), FLUSHES_AT_ONCE)) as pool:
        for _ in pool.map(act, items):
            pass


def _same_or_conflict(path: Path, data: bytes) -> None:
    if path.read_bytes() != data:
        raise Conflict(f"{path.name} in {path.parent} exists and holds other bytes")
    with path.open("rb") as file:
        os.fsync(file.fileno())  # whoever wrote it may have died before its flush


@contextmanager
def _unnamed(directory: Path, data: bytes) -> Iterator[int]:
    descriptor = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o444)
    try:
        _write_all(descriptor, data)
        yield descriptor
    finally:
        os.close(descriptor)


def _create_by_temporary_name(path: Path, data: bytes) -> None:
    temporary = _write_temporary(path.parent, data)
    try:
        os.link(temporary, path)
    except FileExistsError:
        _same_or_conflict(path, data)
    finally:
        temporary.unlink()


def _write_temporary(directory: Path, data: bytes) -> Path:
    temporary = directory / (TEMPORARY + secrets.token_hex(8))
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444)
    try:
        _write_all(descriptor, data)
    finally:
        os.close(descriptor)
    return temporary


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.fsync(descriptor)


def _make_directories(path: Path) -> None:
    if path.is_dir():
        return
    _make_directories(path.parent)
    path.mkdir(exist_ok=True, mode=0o755)
    _flush_directory(path.parent)


@contextmanager
def _directory(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _flush_directory(path: Path) -> None:
    with _directory(path) as descriptor:
        os.fsync(descriptor)
