"""Gate.io's contracts with prices and quotes: what fanout/brokers/gate/table.py keeps fresh.

Two public questions, asked at once. The contracts must be answered. Without the tickers the table
stands without bid and ask: a plan that is to look at the spread then refuses (`no_quote`), all
others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

import structlog

from fanout.brokers.gate.client import GateClient
from fanout.brokers.gate.reading import Unreadable
from fanout.brokers.gate.table import ask_public
from fanout.brokers.gateio import state, wire
from fanout.ports import Instrument
from tenancy.errors import Unavailable

log = structlog.get_logger()


class Contracts:
    """What can be traded, by symbol."""

    def __init__(self, client: GateClient, settle: str) -> None:
        self._client = client
        self._settle = settle

    async def read(self, now: datetime) -> Mapping[str, Instrument]:
        """Raises Unavailable."""
        contracts, quotes = await asyncio.gather(
            ask_public(self._client, wire.contracts(self._settle)), self._quotes()
        )
        try:
            return state.instruments(contracts, self._settle, now, quotes)
        except Unreadable as why:
            raise Unavailable(f"Gate.io contracts: {why}") from why

    async def _quotes(self) -> state.Quotes:
        try:
            return state.quotes(await ask_public(self._client, wire.tickers(self._settle)))
        except (Unavailable, Unreadable) as why:
            log.warning("quotes_not_refreshed", broker="gateio", error=str(why))
            return {}
