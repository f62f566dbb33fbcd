"""How a message gets to its listener when a fault rule says otherwise (faults.py, kinds `ws_…`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from loadtest.exchanges.gateio.faults import Rule


class Delivery:
    """Of one connection. `write` sends one message, `cut` ends the connection."""

    def __init__(self, write: Callable[[bytes], None], cut: Callable[[], None]) -> None:
        self._write = write
        self._cut = cut
        self._loop = asyncio.get_running_loop()
        self._timers: set[asyncio.TimerHandle] = set()
        self._held: list[bytes] = []
        self._lost_until = 0.0
        self._silent_until = 0.0

    @property
    def silent(self) -> bool:
        return self._loop.time() < self._silent_until

    def silence(self) -> None:
        """For ever: the other side is gone and has not said so."""
        self._silent_until = float("inf")

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._held.clear()

    def reply(self, message: bytes) -> None:
        """An answer that no rule but silence is for."""
        if not self.silent:
            self._write(message)

    def push(self, message: bytes, rule: Rule | None) -> None:
        now = self._loop.time()
        if now < self._silent_until or now < self._lost_until:
            return
        match rule.kind if rule is not None else "":
            case "ws_drop":
                return
            case "ws_cut":
                self._cut()
                return
            case "ws_gap":
                assert rule is not None
                self._lost_until = now + rule.seconds
                return
            case "ws_silence":
                assert rule is not None
                self._silent_until = now + rule.seconds
                return
            case "ws_late":
                assert rule is not None
                self._later(rule.seconds, message)
                return
            case "ws_reorder":
                assert rule is not None
                self._held.append(message)
                self._later(rule.seconds, None)
                return
            case "ws_duplicate":
                self._write(message)
        self._write(message)
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for message in held:
            self._write(message)

    def _later(self, seconds: float, message: bytes | None) -> None:
        """Send it then; None: what is held back, where nothing else has come that it could follow."""

        def act() -> None:
            self._timers.discard(timer)
            if self.silent:
                return
            if message is None:
                self._release()
            else:
                self._write(message)

        timer = self._loop.call_later(seconds, act)
        self._timers.add(timer)
