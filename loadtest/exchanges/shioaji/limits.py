"""What SinoPac counts, over all connections of a person: who breaks it is banned for a minute."""

from __future__ import annotations

from collections import Counter, deque

ORDER_OPS, ORDER_S = 250, 10.0
ACCOUNTING, ACCOUNTING_S = 25, 5.0
CONNECTIONS = 5
LOGINS = 1000
BAN_S = 60.0


class Counted:
    """How many within a window, and the most that there ever were."""

    def __init__(self, most: int, window_s: float) -> None:
        self._most, self._window_s = most, window_s
        self._times: deque[float] = deque()
        self.worst = 0

    def __repr__(self) -> str:
        return f"Counted(worst={self.worst} of {self._most} in {self._window_s} s)"

    def count(self, now: float) -> bool:
        """One more; False where that is too many."""
        self._times.append(now)
        while self._times[0] <= now - self._window_s:
            self._times.popleft()
        self.worst = max(self.worst, len(self._times))
        return len(self._times) <= self._most


class Limits:
    """One person's. `in_flight`: orders under way by account and contract."""

    def __init__(self) -> None:
        self.order_ops = Counted(ORDER_OPS, ORDER_S)
        self.accounting = Counted(ACCOUNTING, ACCOUNTING_S)
        self.connections = 0
        self.most_connections = 0
        self.logins = 0
        self.banned_until = float("-inf")
        self.bans = 0
        self.disobeyed = 0
        self.in_flight: Counter[tuple[str, str]] = Counter()
        self.most_in_flight = 0

    def ban(self, now: float) -> None:
        self.bans += 1
        self.banned_until = now + BAN_S

    def enter(self, key: tuple[str, str]) -> None:
        self.in_flight[key] += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight[key])

    def leave(self, key: tuple[str, str]) -> None:
        self.in_flight[key] -= 1
