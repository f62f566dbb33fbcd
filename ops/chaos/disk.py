"""Disks that can be full: directories of the installation on file systems of their own.

Each is a tmpfs, mounted over the directory in a mount namespace that only this run and its
processes are in: it is gone with the last of them, whatever happens. Full means: shrunk to what is
used. Needs root (or CAP_SYS_ADMIN); where we may not, `own_mounts` says so and nobody asks for it.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tenancy.errors import Unavailable

CLONE_NEWNS = 0x00020000
"""unshare(2), of which Python knows since 3.12."""
ROOM = "4g"
PAGE_BYTES = 4096
TRIES = 50


def own_mounts() -> bool:
    """Whether mounts are ours alone from here on. Call it before there is a second thread."""
    if ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0:
        return False
    done = subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False)
    return done.returncode == 0


class Disk:
    """One directory that has a file system of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._busy = asyncio.Lock()

    def mount(self) -> None:
        """With what is in the directory. Raises Unavailable."""
        self.path.mkdir(exist_ok=True, mode=0o700)
        owner = self.path.stat()
        with tempfile.TemporaryDirectory(dir=self.path.parent) as aside:
            _run("cp", "-a", f"{self.path}/.", aside)
            mode = f"mode={owner.st_mode & 0o7777:o},uid={owner.st_uid},gid={owner.st_gid}"
            _run("mount", "-t", "tmpfs", "-o", f"size={ROOM},{mode}", "tmpfs", str(self.path))
            _run("cp", "-a", f"{aside}/.", str(self.path))

    async def full(self, seconds: float) -> bool:
        """Full for so long; whether a write failed for it."""
        async with self._busy:
            try:
                for _ in range(TRIES):  # who writes meanwhile may use what was just counted as free
                    if await asyncio.to_thread(self._shrink):
                        break
                refused = await asyncio.to_thread(self._refuses)
                await asyncio.sleep(seconds)
                return refused
            finally:
                await asyncio.to_thread(self._size, ROOM)

    def keep(self, aside: Path) -> None:
        """A copy on the real disk, to be looked at when the mount is gone."""
        shutil.copytree(self.path, aside, dirs_exist_ok=True)

    def _shrink(self) -> bool:
        now = os.statvfs(self.path)
        used = (now.f_blocks - now.f_bfree) * now.f_frsize
        try:
            self._size(str(max(used, PAGE_BYTES)))
        except Unavailable:
            return False
        return self._refuses()

    def _size(self, size: str) -> None:
        _run("mount", "-o", f"remount,size={size}", str(self.path))

    def _refuses(self) -> bool:
        probe = self.path / ".chaos-probe"
        try:
            probe.write_bytes(bytes(PAGE_BYTES))
        except OSError as error:
            return error.errno == errno.ENOSPC
        finally:
            probe.unlink(missing_ok=True)
        return False


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"{' '.join(command)}: {done.stderr.strip()}")
