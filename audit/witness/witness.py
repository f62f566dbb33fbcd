"""One witness: its key, its memory, its answers. Whoever carries HTTP calls it, from any thread.

`add()` answers `POST /add-checkpoint`, `show()` answers `GET /<hash of origin>/checkpoint`
(C2SP tlog-witness). Every refusal is an answer; only a memory that fails is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from audit.witness import decide
from audit.witness.decide import Answer, Refused, Seen
from audit.witness.key import WitnessKey, make_key, read_key
from audit.witness.memory import Cosigned, Memory

KEY, MEMORY = "witness.key", "witness.sqlite"
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Witness:
    """`now`: POSIX seconds."""

    def __init__(self, key: WitnessKey, memory: Memory, now: Callable[[], float]) -> None:
        self.key = key
        self.memory = memory
        self._now = now

    def add(self, body: bytes) -> Answer:
        """The answer to add-checkpoint. Raises sqlite3.Error: then nothing was said and nothing signed."""
        try:
            return Answer(200, self._cosign(body))
        except Refused as refused:
            return refused.answer

    def show(self, origin_hash: str) -> Answer:
        """The latest cosigned checkpoint of that log, or 404."""
        note = self.memory.note_of(origin_hash) if _HASH.fullmatch(origin_hash) else None
        if note is None:
            return Answer(404, b"no checkpoint of this log was cosigned here\n")
        return Answer(200, note)

    def _cosign(self, body: bytes) -> bytes:
        asked = decide.read(body)
        head = asked.head
        own = decide.check_signature(head, self.memory.keys(head.origin))
        line = ""

        def advanced(seen: Seen | None, last: int) -> Cosigned:
            nonlocal line
            decide.check_growth(asked, seen)
            # A clock that was set back stands still: a later tree never has an earlier time.
            time = max(int(self._now()), last, 1)
            line = self.key.cosign(head.text, time)
            note = f"{head.text}\n{''.join(own)}{line}".encode()
            return Cosigned(head.size, head.root, time, note)

        self.memory.advance(head.origin, advanced)
        return line.encode()


def create(directory: Path, name: str) -> WitnessKey:
    """A new witness in `directory`. Raises FileExistsError where there is one, Malformed for the name."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = make_key(directory / KEY, name)
    Memory(directory / MEMORY).create()
    return key


def load(directory: Path, now: Callable[[], float]) -> Witness:
    """The witness that create() made there. Raises OSError, Malformed."""
    memory = Memory(directory / MEMORY)
    memory.logs()  # it can be read, or we do not begin
    return Witness(read_key(directory / KEY), memory, now)
