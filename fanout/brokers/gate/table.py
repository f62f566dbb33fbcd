"""What can be traded at Gate.io with prices and quotes, kept fresh; never older than the settings allow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

import structlog

from fanout.brokers.gate.client import PUBLIC, GateClient, NoAnswer, NotSent
from fanout.brokers.gate.request import Request
from fanout.brokers.gate.settings import GateSettings
from fanout.ports import Instrument
from tenancy.clock import Clock
from tenancy.errors import Unavailable

log = structlog.get_logger()


class InstrumentTable:
    """What can be traded, by symbol."""

    def __init__(
        self,
        broker: str,
        read: Callable[[datetime], Awaitable[Mapping[str, Instrument]]],
        settings: GateSettings,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """`read`: the table as of a moment; raises Unavailable."""
        self._broker = broker
        self._read = read
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._table: Mapping[str, Instrument] = {}
        self._at_s = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self) -> Mapping[str, Instrument]:
        """The table, never older than instruments_max_age_s. Raises Unavailable."""
        if self.age_s() <= self._settings.instruments_max_age_s:
            return self._table
        async with self._lock:
            if self.age_s() > self._settings.instruments_max_age_s:
                await self._fetch()
            return self._table

    async def keep_fresh(self) -> None:
        """For ever, every instruments_refresh_s."""
        while True:
            await self._sleep(self._settings.instruments_refresh_s)
            try:
                await self._fetch()
            except Unavailable as why:
                # The old table stays until it is too old; then get() raises.
                log.warning("instruments_not_refreshed", broker=self._broker, error=str(why))

    def age_s(self) -> float:
        """How old the table is, in seconds; infinite where there was never one."""
        return self._clock.monotonic() - self._at_s

    async def _fetch(self) -> None:
        asked_at_s, asked_at = self._clock.monotonic(), self._clock.now()
        self._table = await self._read(asked_at)
        self._at_s = asked_at_s


async def ask_public(client: GateClient, request: Request) -> bytes:
    """Raises Unavailable where Gate does not answer as asked."""
    try:
        answer = await client.send(request, PUBLIC)
    except (NotSent, NoAnswer) as why:
        raise Unavailable(f"Gate.io {request.path}: {why}") from why
    if answer.status != 200:
        raise Unavailable(f"Gate.io {request.path}: status {answer.status}")
    return answer.body
