"""How many signatures a tenant may ask for: a burst, and then so many a second. Pure.

A generic cell rate: for each tenant the moment at which everything it has asked for would be paid
off, had it kept to its rate. Nothing else is kept, and a tenant that has paid off is forgotten.

Whose request it is, is what the request says: the row's MAC is checked later, in the token's own
time. Whoever lies about it spends another's rate and gets no signature; only who is let in to the
socket can do so, and could as well fill the queue.
"""

from __future__ import annotations

from collections.abc import Hashable

KNOWN_MOST = 4096


class Rates:
    """`per_s` and `burst` hold for each key by itself."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._cost_s = 1.0 / per_s
        self._burst_s = burst / per_s
        self._paid_off: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._paid_off)

    def take(self, key: Hashable, now: float) -> bool:
        """Whether one more is within the rate; if so, it is counted. `now`: monotonic seconds."""
        paid_off = self._paid_off.get(key, now)
        if paid_off < now:
            paid_off = now
        paid_off += self._cost_s
        if paid_off - now > self._burst_s:
            return False
        if len(self._paid_off) >= KNOWN_MOST:
            self._forget(now)
        self._paid_off[key] = paid_off
        return True

    def _forget(self, now: float) -> None:
        """Whoever has paid off is as somebody never seen. Should nobody have, all begin anew."""
        self._paid_off = {key: at for key, at in self._paid_off.items() if at > now}
        if len(self._paid_off) >= KNOWN_MOST:
            self._paid_off.clear()
