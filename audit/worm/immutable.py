"""The immutable flag of a file: set it where the right is there, and look whether it stands.

FS_IMMUTABLE_FL (ioctl_iflags(2); ext4, XFS, Btrfs): nobody may write, rename, link or remove the file,
root included, until the flag is taken off. Setting needs CAP_LINUX_IMMUTABLE, looking needs nothing.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_IMMUTABLE_FL = 0x10


def is_immutable(descriptor: int) -> bool:
    """False also where the file system knows no flags."""
    try:
        return bool(_flags(descriptor) & FS_IMMUTABLE_FL)
    except OSError:
        return False


def make_immutable(descriptor: int) -> None:
    """Raises OSError: no right, or a file system without flags."""
    _set(descriptor, _flags(descriptor) | FS_IMMUTABLE_FL)


def make_mutable(descriptor: int) -> None:
    """For the sealer's own probe, and for tests. Raises OSError."""
    _set(descriptor, _flags(descriptor) & ~FS_IMMUTABLE_FL)


def file_is_immutable(path: Path) -> bool:
    """Raises FileNotFoundError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return is_immutable(descriptor)
    finally:
        os.close(descriptor)


def _flags(descriptor: int) -> int:
    answer = fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, struct.pack("l", 0))
    return int(struct.unpack("l", answer)[0])


def _set(descriptor: int, flags: int) -> None:
    fcntl.ioctl(descriptor, FS_IOC_SETFLAGS, struct.pack("l", flags))
