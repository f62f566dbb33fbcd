"""One log's directory on a POSIX file system: files come into being whole, durable, and once.

1. Write into an unnamed file (O_TMPFILE), flush it to disk. *Crash: nothing is left.*
2. Give it its name (linkat fails where the name exists). *Crash: a whole file, or none.*
3. Flush the directories. Only now is the file acknowledged. *Crash before: the same bytes again.*
4. Where asked, set the immutable flag and read it back. *Crash: the next writer of the name seals.*

Where the file system has no O_TMPFILE a hidden temporary name stands in for it; one that a crash
leaves is removed at the next start. The immutable flag needs CAP_LINUX_IMMUTABLE, which in
production a separate sealer unit alone has: without the right the store says `worm: advisory`.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from audit.worm.port import Conflict, Worm

FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_IMMUTABLE_FL = 0x10
TEMPORARY = ".new-"
_NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}


class PosixStore:
    """See audit.worm.port.Store. `seal_files=False` never asks for immutability (a developer's machine)."""

    def __init__(self, root: Path, *, seal_files: bool = False) -> None:
        self._root = root
        self._seal_files = seal_files
        self._sealed = False

    @property
    def worm(self) -> Worm:
        return "enforced" if self._sealed else "advisory"

    def open(self) -> None:
        """Make the directory durable where it is new; remove what a crash left half-made."""
        _make_directories(self._root)
        for path in self._root.rglob(TEMPORARY + "*"):
            path.unlink()

    def create(self, files: Sequence[tuple[str, bytes]], *, seal: bool) -> None:
        directories = set()
        for name, data in files:
            path = self._root / name
            if path.parent not in directories:
                _make_directories(path.parent)
                directories.add(path.parent)
            self._create_one(path, data)
        for directory in directories:
            _flush_directory(directory)
        if seal and self._seal_files:
            for name, _ in files:
                self._sealed = _make_immutable(self._root / name)

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


def _make_immutable(path: Path) -> bool:
    """Ask for the immutable flag, then look whether it stands."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        assert stat.S_ISREG(os.fstat(descriptor).st_mode)
        try:
            wanted = _flags(descriptor) | FS_IMMUTABLE_FL
            fcntl.ioctl(descriptor, FS_IOC_SETFLAGS, struct.pack("l", wanted))
        except OSError:  # no right, or a file system without flags: the look below says so
            pass
        try:
            return bool(_flags(descriptor) & FS_IMMUTABLE_FL)
        except OSError:
            return False
    finally:
        os.close(descriptor)


def _flags(descriptor: int) -> int:
    answer = fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, struct.pack("l", 0))
    return int(struct.unpack("l", answer)[0])
