"""An event loop whose time jumps to the next thing to do, and hosts that live on it.

A host is a contextvar: what a worker starts inherits it. A host that is *dead* runs nothing any
more, not even `finally` (as after SIGKILL); one that is *frozen* runs nothing until it thaws, and
finds then that time has gone on. Nothing here looks at the machine's clock.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import base_events, events
from collections.abc import Callable
from contextvars import Context, ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

BEGIN = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
"""The time of day when every simulation starts."""


class Stuck(Exception):
    """Nothing is left that could ever happen."""


class Host:
    """One machine with one worker process on it. Also the worker's clock (tenancy.clock.Clock)."""

    def __init__(self, name: str, loop: SimulatedLoop) -> None:
        self.name = name
        self.dead = False
        self.frozen = False
        self.step_s = 0.0
        """By how much its time of day is ahead of the true one."""
        self.parked: list[events.Handle] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self._loop = loop

    def __repr__(self) -> str:
        return f"Host({self.name})"

    def now(self) -> datetime:
        return self._loop.utc() + timedelta(seconds=self.step_s)

    def now_ns(self) -> int:
        since = self.now() - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds) * 1000

    def monotonic(self) -> float:
        return self._loop.time()

    def thaw(self) -> None:
        """Go on: what should have run meanwhile runs now, in its order."""
        self.frozen = False
        parked, self.parked = self.parked, []
        self._loop.again(parked)


HOST: ContextVar[Host | None] = ContextVar("HOST", default=None)


class _NoSelector:
    """asyncio asks for one; nothing here waits for a file."""

    def get_map(self) -> dict[int, Any]:
        return {}

    def close(self) -> None: ...


class SimulatedLoop(base_events.BaseEventLoop):
    """Runs what is ready, in order; when nothing is, time jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _NoSelector()
        self._now_s = 0.0
        self._scheduled: list[events.TimerHandle]
        self._ready: Any
        self.errors: list[str] = []
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._note_error)

    def time(self) -> float:
        return self._now_s

    def utc(self) -> datetime:
        """The true time of day."""
        return BEGIN + timedelta(microseconds=round(self._now_s * 1e6))

    def again(self, handles: list[events.Handle]) -> None:
        """Run these before anything that comes later."""
        self._ready.extend(handles)

    def outside(
        self, delay_s: float, act: Callable[..., Any], *arguments: Any
    ) -> asyncio.TimerHandle:
        """call_later for what belongs to no host: the exchange, the network, the faults."""
        return self.call_later(delay_s, act, *arguments, context=Context())

    def kill(self, host: Host) -> None:
        """From now on nothing of it runs."""
        host.dead = True
        host.parked.clear()

    # -------------------------------------------------------------- what asyncio asks of a loop

    def _run_once(self) -> None:
        while self._scheduled and self._scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
            heapq.heappop(self._scheduled)._scheduled = False  # type: ignore[attr-defined]
        if not self._ready:
            if not self._scheduled:
                raise Stuck(f"nothing is left to do at {self._now_s:.3f} s")
            self._now_s = max(self._now_s, self._scheduled[0].when())
        while self._scheduled and self._scheduled[0].when() <= self._now_s:
            timer = heapq.heappop(self._scheduled)
            timer._scheduled = False  # type: ignore[attr-defined]
            self._ready.append(timer)
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if handle._cancelled:
                continue
            host = handle._context.get(HOST)
            if host is None or not (host.dead or host.frozen):
                handle._run()
            elif not host.dead:
                host.parked.append(handle)

    def _write_to_self(self) -> None: ...

    def _process_events(self, event_list: Any) -> None: ...

    def run_in_executor(self, executor: Any, func: Any, *arguments: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """At once: a thread would run in a time that is not ours."""
        future = self.create_future()
        try:
            future.set_result(func(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def _make_task(self, loop: Any, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=self, **more)
        context = more.get("context")
        host = HOST.get() if context is None else context.get(HOST)
        if host is not None:
            host.tasks.append(
                task
            )  # a dead host's tasks must not be collected: that runs `finally`
        return task

    def _note_error(self, loop: Any, context: dict[str, Any]) -> None:
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")
