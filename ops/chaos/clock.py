"""The time of day of an installation's processes, set forward and back as a person sets a host's clock.

A shared machine's clock is nobody's to step. So the processes load a library (clock.c) whose time is
the host's and an offset that all of them read from one file. Ours, the sender's and the exchange's
time stay right.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tenancy.errors import Unavailable

SOURCE = Path(__file__).with_name("clock.c")
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared")


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


class SteppedClock:
    """The offset, in a directory that everybody may read: PostgreSQL may be another user."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "offset"
        self._library = directory / "clock.so"
        self._busy = asyncio.Lock()

    def build(self) -> None:
        """Raises Unavailable where it does not compile."""
        self._file.write_bytes(struct.pack("=q", 0))
        command = [str(compiler()), *FLAGS, "-o", str(self._library), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unavailable(f"clock.c does not compile: {done.stderr}")

    @contextmanager
    def in_children(self) -> Iterator[None]:
        """Whatever is started meanwhile has this clock."""
        names = {"LD_PRELOAD": str(self._library), "PORTCULLIS_CHAOS_CLOCK": str(self._file)}
        os.environ.update(names)
        try:
            yield
        finally:
            for name in names:
                del os.environ[name]

    async def off_by(self, offset_s: float, seconds: float, conninfo: str) -> bool:
        """Stepped, and after so long back again; whether PostgreSQL told that time meanwhile."""
        async with self._busy:
            self._write(offset_s)
            try:
                seen, _ = await asyncio.gather(
                    _tells(conninfo, offset_s, seconds), asyncio.sleep(seconds)
                )
                return seen
            finally:
                self._write(0.0)

    def _write(self, offset_s: float) -> None:
        with self._file.open("r+b") as file:  # eight aligned bytes: nobody reads half of them
            file.write(struct.pack("=q", int(offset_s * 1e9)))


async def _tells(conninfo: str, offset_s: float, within_s: float) -> bool:
    """Whether the server's time of day is that far from ours."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            async with await psycopg.AsyncConnection.connect(conninfo, connect_timeout=2) as conn:
                row = await (
                    await conn.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
                ).fetchone()
            if row is not None and abs(row[0] - time.time() - offset_s) < abs(offset_s) / 2:
                return True
        except psycopg.OperationalError:
            pass
        await asyncio.sleep(0.1)
    return False


@contextmanager
def stepped_clock() -> Iterator[SteppedClock | None]:
    """None where there is no C compiler."""
    if compiler() is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="pc-clock-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        clock = SteppedClock(directory)
        clock.build()
        yield clock
