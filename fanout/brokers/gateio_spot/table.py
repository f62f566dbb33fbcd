"""Gate.io's spot pairs with prices: what fanout/brokers/gate/table.py keeps fresh.

Two public questions, asked at once; both must be answered: a pair carries no price of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from fanout.brokers.gate.client import GateClient
from fanout.brokers.gate.reading import Unreadable
from fanout.brokers.gate.table import ask_public
from fanout.brokers.gateio_spot import state, wire
from fanout.ports import Instrument
from tenancy.errors import Unavailable


class PairTable:
    """What can be traded, by symbol, and the lot steps of whatever could once."""

    def __init__(self, client: GateClient, quote: str) -> None:
        self._client = client
        self._quote = quote
        self.steps: dict[str, Decimal] = {}

    async def read(self, now: datetime) -> Mapping[str, Instrument]:
        """Raises Unavailable."""
        pairs, tickers = await asyncio.gather(
            ask_public(self._client, wire.pairs()), ask_public(self._client, wire.tickers())
        )
        try:
            found = state.pairs(pairs, self._quote, now, state.prices(tickers))
        except Unreadable as why:
            raise Unavailable(f"Gate.io currency pairs: {why}") from why
        self.steps |= found.steps
        return found.traded
