"""What happens to the calls that go through relay.so: a file of 4 kB, mapped into memory.

Whoever holds a `Control` changes the very next call of every process that has loaded that library,
and counts what went through. The layout is relay.c's `struct control`.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

MAGIC = b"pkrelay1"
SIZE = 4096
TARGET_AT = 512

DEVICE_REMOVED = 0x32
SESSION_HANDLE_INVALID = 0xB3
TOKEN_NOT_PRESENT = 0xE0

_WORDS = ("latency_us", "removed", "hang", "wrong_pin", "error_one_in", "reissued")
_COUNTERS = ("calls", "signatures", "faults")
_PLACES = {name: ("<I", 8 + 4 * index) for index, name in enumerate(_WORDS)} | {
    name: ("<Q", 32 + 8 * index) for index, name in enumerate(_COUNTERS)
}


def create(library: Path, target: Path) -> None:
    """The control file beside `library`: all is well, and calls go to `target`."""
    path = os.fsencode(target)
    if len(path) >= SIZE - TARGET_AT:
        raise ValueError(f"{target}: the path is too long")
    head = MAGIC.ljust(TARGET_AT, b"\0")
    control_of(library).write_bytes((head + path).ljust(SIZE, b"\0"))


def control_of(library: Path) -> Path:
    return library.with_name(library.name + ".control")


class Control:
    """A relay's control file, open. Every name in `WORDS` is an attribute to read; set() writes."""

    WORDS = _WORDS

    def __init__(self, library: Path) -> None:
        """Raises OSError where there is no control file, ValueError where it is not one."""
        with control_of(library).open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)
        if self._map[: len(MAGIC)] != MAGIC:
            raise ValueError(f"{control_of(library)} is not a control file")

    def get(self, name: str) -> int:
        form, at = _PLACES[name]
        return int(struct.unpack_from(form, self._map, at)[0])

    def set(self, **words: int) -> None:
        """`latency_us`, `removed` (what calls return), `hang` (how many calls), `wrong_pin`,
        `error_one_in`; 0 is well again."""
        for name, value in words.items():
            if name not in _WORDS:
                raise ValueError(f"{name} cannot be set; {', '.join(_WORDS)} can")
            form, at = _PLACES[name]
            struct.pack_into(form, self._map, at, value)

    def reissue(self) -> None:
        """From now on the handles of every process that runs mean other keys; a new process' do not."""
        self.set(reissued=self.get("reissued") + 1)

    def well(self) -> None:
        """No fault any more. Handles that mean other keys go on to."""
        self.set(**{name: 0 for name in _WORDS if name != "reissued"})

    def close(self) -> None:
        self._map.close()
