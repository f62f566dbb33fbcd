"""Every call of the SDK, within the broker's limits and outside the event loop.

The SDK is synchronous. Its calls run in a few threads; before each, on the loop, in this order:

1. a ban, or a session that has ended, is obeyed: Slow;
2. the limit is asked for (limits.py); who would wait longer than he may is Slow;
3. what still must hold is looked at once more (`last_look`: the lease, the tombstone);
4. the journal is written, then the call begins. Nothing awaits between 3 and 4.

Slow means: not begun. Every other exception is the SDK's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TypeVar

import structlog

from fanout.brokers.shioaji import errors
from fanout.brokers.shioaji.journal import Journal
from fanout.brokers.shioaji.limits import Window
from fanout.brokers.shioaji.settings import ACCOUNTING_S, ORDER_OPS_S, ShioajiSettings

T = TypeVar("T")
THREADS = 8
MARKET_MOST, MARKET_S = 45, 5.0
"""SinoPac: 50 questions about the market in 5 s."""
LOOKS_SHARE, OPENS_SHARE, ALL = 0.6, 0.9, 1.0
"""Of the limit of order operations: what looks may take, what opens may, what closes and cancels may."""

log = structlog.get_logger()


class Slow(Exception):
    """Not begun: the limits have no room for it in time."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"the broker's limits allow it in {wait_s:.1f} s")
        self.wait_s = wait_s


def nothing() -> None:
    """Most calls need no last look."""


class Calls:
    """The way to the SDK. `ended` is set when only another login helps."""

    def __init__(
        self,
        settings: ShioajiSettings,
        journal: Journal,
        *,
        now: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._journal, self._now, self._sleep = journal, now, sleep
        self._orders = Window(settings.order_ops, ORDER_OPS_S, journal.ops)
        self._accounting = Window(settings.accounting_ops, ACCOUNTING_S)
        self._market = Window(MARKET_MOST, MARKET_S)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sdk")
        self._banned_until = float("-inf")
        self.ended = asyncio.Event()
        self.banned = False

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def order(
        self,
        call: Callable[[], T],
        *,
        patience_s: float,
        share: float,
        last_look: Callable[[], None] = nothing,
    ) -> T:
        """place, update, cancel, update_status. Raises Slow, what last_look raises, and the SDK's own."""
        return await self._run(call, self._orders, patience_s, share, last_look)

    async def accounting(self, call: Callable[[], T], *, patience_s: float) -> T:
        return await self._run(call, self._accounting, patience_s, ALL, nothing)

    async def market(self, call: Callable[[], T], *, patience_s: float) -> T:
        return await self._run(call, self._market, patience_s, ALL, nothing)

    async def _run(
        self,
        call: Callable[[], T],
        window: Window,
        patience_s: float,
        share: float,
        last_look: Callable[[], None],
    ) -> T:
        until = self._now() + patience_s
        while True:
            wait = max(window.wait_s(self._now(), share), self._banned_until - self._now())
            if self.ended.is_set():
                wait = max(wait, 1.0)
            if wait <= 0:
                break
            if self._now() + wait > until:
                raise Slow(wait)
            await self._sleep(wait)
        last_look()
        window.begin(self._now())
        if window is self._orders:
            self._journal.op()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except Exception as error:
            self._look_at(error)
            raise

    def _look_at(self, error: Exception) -> None:
        if errors.banned(error):
            self.banned = True
            self._banned_until = self._now() + errors.BAN_S + errors.BAN_MARGIN_S
            log.error("shioaji_banned", text=errors.words(error))
        if errors.ends_the_session(error):
            self.ended.set()
