"""The leaves that were committed last, in memory: what is published next need not be read back.

Only a shortcut. Who does not find its leaves here (after a start, or when publication fell behind) reads
the rows, and the continuous check (audit/checker.py) compares all rows with what was published.
"""

from __future__ import annotations

from collections import deque
from uuid import UUID

MOST = 65_536
"""Leaves of all logs together, some 40 MB; beyond, those of the log that has most are forgotten."""

Leaf = tuple[bytes, bytes]
"""The leaf, its hash."""


class Recent:
    """Each log's last committed leaves, without a gap."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._held = 0
        self._logs: dict[UUID, tuple[int, deque[Leaf]]] = {}  # index of the first, and all

    def __len__(self) -> int:
        return self._held

    def add(self, log_id: UUID, index: int, leaf: bytes, digest: bytes) -> None:
        """One that is committed. After a gap the ones before it are forgotten."""
        first, leaves = self._logs.get(log_id, (index, deque()))
        if first + len(leaves) != index:
            self._held -= len(leaves)
            first, leaves = index, deque()
        leaves.append((leaf, digest))
        self._logs[log_id] = (first, leaves)
        self._held += 1
        if self._held > self._most:
            longest = max(self._logs, key=lambda one: len(self._logs[one][1]))
            self._held -= len(self._logs.pop(longest)[1])

    def take(self, log_id: UUID, start: int, most: int) -> list[Leaf]:
        """The leaves from `start`, `most` at most, which are forgotten with all before them; empty
        where that one is not here."""
        first, leaves = self._logs.get(log_id, (0, deque()))
        if not first <= start < first + len(leaves):
            return []
        for _ in range(start - first):
            leaves.popleft()
        taken = [leaves.popleft() for _ in range(min(most, len(leaves)))]
        self._held -= start - first + len(taken)
        self._logs[log_id] = (start + len(taken), leaves)
        return taken
