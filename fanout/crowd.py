"""How many orders are on their way out of this process, and when a crowd of them has left.

What can wait for it does: on two cores everything that is written meanwhile is paid by the last order.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator

from tenancy.pause import pause


class Crowd:
    """Orders that have their turn at a broker and no outcome yet; `many` of them are a crowd."""

    def __init__(self, many: int = sys.maxsize) -> None:
        self._many = many
        self._orders = 0
        self._few = asyncio.Event()
        self._few.set()

    def __repr__(self) -> str:
        return f"Crowd({self._orders} of {self._many})"

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Around one order's request."""
        self._orders += 1
        if self._orders >= self._many:
            self._few.clear()
        try:
            yield
        finally:
            self._orders -= 1
            if self._orders < self._many:
                self._few.set()

    async def left(self, within_s: float) -> None:
        """Return when there is no crowd, or after `within_s` seconds."""
        await pause(self._few, within_s)
