"""When a sender means to send: at a constant rate, from a random phase on. Pure.

A late start does not move the next one: whoever waits for a slow answer is late for the following
arrivals too, and each of them counts from when it was meant. So a stall of one second is seen in every
signal that should have left within it, and not in one alone ("coordinated omission").
"""

from __future__ import annotations


class Arrivals:
    """Intended starts of one sender, in seconds of the caller's monotonic clock."""

    def __init__(self, begun_s: float, *, per_s: float, chance: float) -> None:
        """`chance`: 0 to 1, the part of the first interval that passes before the first start."""
        if per_s <= 0:
            raise ValueError(f"per_s: more than 0 arrivals a second, not {per_s:g}")
        if not 0 <= chance <= 1:
            raise ValueError(f"chance: 0 to 1, not {chance:g}")
        self._first_s = begun_s + chance / per_s
        self._per_s = per_s
        self._count = 0

    @property
    def next_s(self) -> float:
        """The next intended start; not moved by how late the last one was."""
        return self._first_s + self._count / self._per_s

    def wait_s(self, now_s: float) -> float:
        """How long until then; 0 where it is due or late."""
        return max(0.0, self.next_s - now_s)

    def take(self) -> float:
        """The intended start that is served now."""
        intended = self.next_s
        self._count += 1
        return intended
