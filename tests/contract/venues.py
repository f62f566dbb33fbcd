"""Where the contract suite trades: each broker adapter with something real enough behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import ROUND_FLOOR, Decimal

import msgspec

from fanout.brokers.gate.settings import GateSettings
from fanout.brokers.gateio.adapter import GateioBroker
from fanout.brokers.gateio.settings import GateioSettings
from fanout.brokers.gateio_spot.adapter import GateioSpotBroker
from fanout.brokers.gateio_spot.settings import GateioSpotSettings
from fanout.brokers.paper.adapter import PaperBroker
from fanout.brokers.paper.settings import PaperInstrument, PaperSettings
from fanout.ports import Broker, BrokerAccount
from loadtest.exchanges.gateio.control import Settings
from loadtest.exchanges.gateio.control_client import ControlClient
from loadtest.exchanges.gateio.server import Simulator
from loadtest.exchanges.gateio.spot_control_client import SpotControlClient
from tenancy.clock import Clock, SystemClock
from tests.fakes.orders import an_account
from tests.fakes.signer import InProcessSigner


class Venue(msgspec.Struct, frozen=True, kw_only=True):
    """A broker, two accounts on it (one with next to no money), and a hand on the market."""

    broker: Broker
    account: BrokerAccount
    poor: BrokerAccount
    symbol: str
    move: Callable[[Decimal], Awaitable[None]]
    """Set the market price of `symbol`."""
    currency: str = "USDT"

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
    spread_bps="2",
)


@asynccontextmanager
async def paper(*, conditional_orders: bool = True) -> AsyncIterator[Venue]:
    settings = PaperSettings(instruments=[BTC], conditional_orders=conditional_orders)
    broker = PaperBroker(settings, SystemClock())

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


def paper_plain() -> AbstractAsyncContextManager[Venue]:
    """Paper without stops of its own."""
    return paper(conditional_orders=False)


EXPTIME_S = 0.5  # longer than find()'s two looks are apart, so that skipping the wait shows
REQUEST_TIMEOUT_S = 0.8


class GateioVenue(Venue, frozen=True):
    """Gate.io's adapter on the simulator, with a hand on the simulator's faults and audit."""

    control: ControlClient


def gateio_settings(url: str) -> GateioSettings:
    """As in production, but impatient."""
    return GateioSettings(
        base_url=url,
        sign_timeout_s=0.5,
        connect_timeout_s=0.4,
        request_timeout_s=REQUEST_TIMEOUT_S,
        exptime_ms=int(EXPTIME_S * 1000),
        clock_error_ms=50,
        connections=16,
        connections_warm=2,
        orders_per_s=100,
        orders_burst=50,
        instruments_refresh_s=60.0,
        instruments_max_age_s=60.0,
    )


def gateio_spot_settings(url: str) -> GateioSpotSettings:
    """As the futures' ones; a hundred orders a second, because the simulator lets us set it."""
    shared = {name: getattr(gateio_settings(url), name) for name in GateSettings.__struct_fields__}
    return GateioSpotSettings(**shared, quote="USDT", market_slip_bps=100)


class SpotVenue(Venue, frozen=True):
    """Gate.io's spot adapter on the simulator, with a hand on the simulator's faults and audit."""

    control: SpotControlClient


@asynccontextmanager
async def gateio_spot(*, points: bool = True) -> AsyncIterator[SpotVenue]:
    """`points`: fees are paid in points, so that what is bought is what the account has."""
    simulator = Simulator()
    url = await simulator.start()
    account, poor = an_account(api_key="rich"), an_account(api_key="poor")
    signer = InProcessSigner({poor.account_id: b"s2"}, default=b"s1")
    broker = GateioSpotBroker(gateio_spot_settings(url), signer, SystemClock())
    async with SpotControlClient(url) as control:
        await control.create_spot_account("rich", "s1", points=points, USDT=Decimal(10_000))
        await control.create_spot_account("poor", "s2", points=points, USDT=Decimal("0.01"))
        await control.change_settings(Settings(spot_orders_per_s=100))

        async def move(price: Decimal) -> None:
            await control.set_spot_price("XRP_USDT", price)

        await broker.open()
        try:
            yield SpotVenue(
                broker=broker,
                account=account,
                poor=poor,
                symbol="XRP_USDT",
                move=move,
                control=control,
            )
        finally:
            await broker.close()
            await simulator.stop()


@asynccontextmanager
async def gateio(clock: Clock | None = None) -> AsyncIterator[GateioVenue]:
    simulator = Simulator()
    url = await simulator.start()
    account, poor = an_account(api_key="rich"), an_account(api_key="poor")
    signer = InProcessSigner({poor.account_id: b"s2"}, default=b"s1")
    broker = GateioBroker(gateio_settings(url), signer, clock or SystemClock())
    async with ControlClient(url) as control:
        await control.create_account("rich", "s1", balance=Decimal(10_000))
        await control.create_account("poor", "s2", balance=Decimal("0.01"))

        async def move(price: Decimal) -> None:
            await control.set_price("BTC_USDT", price)

        await broker.open()
        try:
            yield GateioVenue(
                broker=broker,
                account=account,
                poor=poor,
                symbol="BTC_USDT",
                move=move,
                control=control,
            )
        finally:
            await broker.close()
            await simulator.stop()
