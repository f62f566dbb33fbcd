"""A directory for one session alone, on a tmpfs, gone with it: what the SDK writes is on no disk.

Mounting one for itself would take a capability that a process with a broker's secret should not have. So
it is a directory of mode 0700 on the tmpfs that the operator names; a unit with a mount namespace of its
own makes that one private, too (`TemporaryFileSystem=`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenancy.errors import ConfigurationError

MOUNTS = Path("/proc/self/mounts")


def on_tmpfs(path: Path) -> bool:
    """Whether `path` lies on a file system that is in memory."""
    best, kind = "", ""
    for line in MOUNTS.read_text().splitlines():
        _, where, what, *_ = line.split()
        root = where.rstrip("/") + "/"
        if f"{path.resolve()}/".startswith(root) and len(root) >= len(best):
            best, kind = root, what
    return kind in ("tmpfs", "ramfs")


@contextmanager
def private_directory(base: Path, name: str) -> Iterator[Path]:
    """Made 0700, removed at the end, and what one before it left behind. Raises ConfigurationError."""
    if not base.is_dir() or not on_tmpfs(base):
        raise ConfigurationError(
            f"brokers.shioaji.private: {base} is no directory on a tmpfs; /dev/shm is one"
        )
    for left in base.glob(f"portcullis-sj-{name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"portcullis-sj-{name}-", dir=base))  # 0700
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def environment(directory: Path) -> dict[str, str]:
    """Where the SDK keeps its files."""
    return {
        "SJ_HOME_PATH": str(directory),
        "SJ_LOG_PATH": str(directory / "shioaji.log"),
        "SJ_CONTRACTS_PATH": str(directory / "contracts"),
        "HOME": str(directory),
    }
