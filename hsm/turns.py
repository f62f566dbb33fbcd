"""Whose turn it is at the token: tenant by tenant, one request each, first come first within one. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """What waits, by whose it is. A tenant with a thousand requests delays another's one by one."""

    def __init__(self, whose: Callable[[T], Hashable]) -> None:
        self._whose = whose
        self._lanes: dict[Hashable, deque[T]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def put(self, items: Iterable[T]) -> None:
        for item in items:
            lane = self._lanes.get(key := self._whose(item))
            if lane is None:
                lane = self._lanes[key] = deque()
            lane.append(item)
            self._waiting += 1

    def take(self, most: int) -> list[T]:
        """At most so many, a turn for each; who was served last is last in line next time."""
        taken: list[T] = []
        while self._lanes and len(taken) < most:
            key = next(iter(self._lanes))
            lane = self._lanes.pop(key)
            taken.append(lane.popleft())
            if lane:
                self._lanes[key] = lane  # behind all others
        self._waiting -= len(taken)
        return taken
