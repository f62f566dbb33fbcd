"""Gate.io's contracts with prices and quotes, kept fresh; never older than the settings allow.

Two public questions, asked at once. The contracts must be answered. Without the tickers the table
stands without bid and ask: a plan that is to look at the spread then refuses (`no_quote`), all
others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from fanout.brokers.gateio import state, wire
from fanout.brokers.gateio.client import PUBLIC, GateioClient, NoAnswer, NotSent
from fanout.brokers.gateio.reading import Unreadable
from fanout.brokers.gateio.settings import GateioSettings
from fanout.ports import Instrument
from tenancy.clock import Clock
from tenancy.errors import Unavailable

log = structlog.get_logger()


class ContractTable:
    """What can be traded, by symbol."""

    def __init__(
        self,
        client: GateioClient,
        settings: GateioSettings,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._table: Mapping[str, Instrument] = {}
        self._at_s = float("-inf")
        self._lock = asyncio.Lock()

    async def get(self) -> Mapping[str, Instrument]:
        """The table, never older than instruments_max_age_s. Raises Unavailable."""
        if self._age_s() <= self._settings.instruments_max_age_s:
            return self._table
        async with self._lock:
            if self._age_s() > self._settings.instruments_max_age_s:
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
                log.warning("instruments_not_refreshed", broker="gateio", error=str(why))

    def _age_s(self) -> float:
        return self._clock.monotonic() - self._at_s

    async def _fetch(self) -> None:
        asked_at_s, asked_at = self._clock.monotonic(), self._clock.now()
        contracts, quotes = await asyncio.gather(
            self._ask(wire.contracts(self._settings.settle)), self._quotes()
        )
        try:
            self._table = state.instruments(contracts, self._settings.settle, asked_at, quotes)
        except Unreadable as why:
            raise Unavailable(f"Gate.io contracts: {why}") from why
        self._at_s = asked_at_s

    async def _quotes(self) -> state.Quotes:
        try:
            return state.quotes(await self._ask(wire.tickers(self._settings.settle)))
        except (Unavailable, Unreadable) as why:
            log.warning("quotes_not_refreshed", broker="gateio", error=str(why))
            return {}

    async def _ask(self, request: wire.Request) -> bytes:
        """Raises Unavailable where Gate does not answer as asked."""
        try:
            answer = await self._client.send(request, PUBLIC)
        except (NotSent, NoAnswer) as why:
            raise Unavailable(f"Gate.io {request.path}: {why}") from why
        if answer.status != 200:
            raise Unavailable(f"Gate.io {request.path}: status {answer.status}")
        return answer.body
