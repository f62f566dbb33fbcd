"""Ask the sealer (audit/worm/sealer.py) over its Unix socket to make files permanent.

It is asked and never waited for long: one that is away or hangs leaves files that can be removed,
which the store says (`worm: advisory`), and nothing else. What it answers is not believed; the
store looks at the flags itself.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

PATIENCE_S = 2.0
PAUSE_S = 5.0
"""After the sealer failed it is left alone for so long: a store must not stand still for it."""
NAMES_AT_ONCE = 2_000


class Sealing(Protocol):
    """What a store needs of whoever can seal."""

    def seal(self, store: Path, names: Sequence[str]) -> None:
        """Ask that these be sealed, `<log id>/…` below `store`. Returns, done or not; never raises."""
        ...

    def holds(self, store: Path) -> bool:
        """Whether the flag can be set there at all, as far as can be told. Never raises."""
        ...


class SealerClient:
    """One connection per request: the sealer may come and go."""

    def __init__(self, path: Path, patience_s: float = PATIENCE_S) -> None:
        self._path = path
        self._patience_s = patience_s
        self._again_at = 0.0

    def __repr__(self) -> str:
        return f"SealerClient({str(self._path)!r})"

    def seal(self, store: Path, names: Sequence[str]) -> None:
        for at in range(0, len(names), NAMES_AT_ONCE):
            chosen = list(names[at : at + NAMES_AT_ONCE])
            if self._ask({"store": str(store), "seal": chosen}) is None:
                return

    def holds(self, store: Path) -> bool:
        answer = self._ask({"store": str(store), "probe": True})
        return answer is not None and answer.get("holds") is True

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        if time.monotonic() < self._again_at:
            return None
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._patience_s)
                connection.connect(str(self._path))
                connection.sendall(json.dumps(request).encode() + b"\n")
                with connection.makefile("rb") as answers:
                    answer = json.loads(answers.readline(1 << 20))
        except (OSError, ValueError):
            self._again_at = time.monotonic() + PAUSE_S
            return None
        return answer if isinstance(answer, dict) else None
