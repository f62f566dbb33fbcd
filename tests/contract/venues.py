"""Where the contract suite trades: each broker adapter with something real enough behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import ROUND_FLOOR, Decimal

import msgspec

from fanout.brokers.paper.adapter import PaperBroker
from fanout.brokers.paper.settings import PaperInstrument, PaperSettings
from fanout.ports import Broker, BrokerAccount
from tenancy.clock import SystemClock
from tests.fakes.orders import an_account


class Venue(msgspec.Struct, frozen=True):
    """A broker, two accounts on it (one with next to no money), and a hand on the market."""

    broker: Broker
    account: BrokerAccount
    poor: BrokerAccount
    symbol: str
    move: Callable[[Decimal], Awaitable[None]]
    """Set the market price of `symbol`."""

    async def price(self) -> Decimal:
        last = (await self.broker.instruments())[self.symbol].last_price
        assert last is not None
        return last

    async def price_at(self, factor: str) -> Decimal:
        """A limit price on the tick, at `factor` times the market."""
        instrument = (await self.broker.instruments())[self.symbol]
        ticks = await self.price() * Decimal(factor) / instrument.tick
        return ticks.to_integral_value(ROUND_FLOOR) * instrument.tick


BTC = PaperInstrument(
    symbol="BTC_USDT",
    multiplier="0.0001",
    lot_step="1",
    min_qty="2",
    max_qty="1000000",
    tick="0.1",
    currency="USDT",
    last_price="60000",
)


@asynccontextmanager
async def paper() -> AsyncIterator[Venue]:
    broker = PaperBroker(PaperSettings(instruments=[BTC]), SystemClock())

    async def move(price: Decimal) -> None:
        broker.move("BTC_USDT", price)

    await broker.open()
    try:
        yield Venue(
            broker=broker,
            account=an_account(),
            poor=an_account(stated_equity=Decimal("0.01")),
            symbol="BTC_USDT",
            move=move,
        )
    finally:
        await broker.close()
