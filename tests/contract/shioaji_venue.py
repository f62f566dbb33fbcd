"""Shioaji's adapter, its session and its socket, on a scripted SinoPac in this process."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

from fanout.brokers.shioaji.adapter import ShioajiBroker
from fanout.brokers.shioaji.calls import Calls
from fanout.brokers.shioaji.desk import Desk
from fanout.brokers.shioaji.journal import Journal
from fanout.brokers.shioaji.serving import SessionServer
from fanout.brokers.shioaji.session import Session
from fanout.brokers.shioaji.settings import Person, ShioajiSettings
from loadtest.exchanges.shioaji import sdk as module
from loadtest.exchanges.shioaji.exchange import Exchange
from loadtest.exchanges.shioaji.showing import Account, Listed
from loadtest.exchanges.shioaji.wire import LocalLink
from tenancy.clock import SystemClock
from tests.builders import TENANT
from tests.contract.venues import Venue
from tests.fakes.orders import an_account

SYMBOL = "TMFL6"
RICH, POOR, STOCKS = "F002000-1234567", "F002000-7654321", "9A95-7654321"


def shioaji_settings(runtime: Path, **changed: Any) -> ShioajiSettings:
    """As in production, but impatient."""
    facts: dict[str, Any] = {
        "simulation": False,
        "runtime": runtime,
        "door": runtime / "door.sock",
        "persons": [
            Person(
                name="chen",
                tenant=TENANT,
                account=UUID(int=1),
                person_id="A123456789",
                ca_file=runtime / "chen.pfx",
            )
        ],
        "stocks": ["2330"],
        "odd_stocks": ["2317"],
        "futures": ["TMF", "TXF"],
        "options": ["TXO"],
        "futures_most": 2000,
        "order_ops": 240,
        "accounting_ops": 24,
        "logins_per_day": 900,
        "order_timeout_s": 2.0,
        "ack_wait_s": 0.3,
        "queue_wait_s": 0.5,
        "query_timeout_s": 2.0,
        "login_timeout_s": 2.0,
        "clock_error_ms": 0,
        "quotes_max_age_s": 0.001,
    }
    return ShioajiSettings(**(facts | changed))


def a_market() -> Exchange:
    """TMF is cheap to hold here, and may move by half, so that every case of the suite can be traded."""
    exchange = Exchange()
    wide: dict[str, Any] = {"limit_up": 40_000, "limit_down": 10_000, "margin": 5}
    exchange.add(
        Listed("future", SYMBOL, "TMF", 23_000, 10, **wide),
        Listed("future", "TMFR1", "TMF", 23_000, 10, target_code=SYMBOL, **wide),
        Listed("future", "TXFL6", "TXF", 23_000, 200, margin=100),
        Listed("option", "TXO23000L6", "TXO", 250, 50, option_right="C", strike_price=23_000,
               delivery_date="2026/12/16", limit_up=2500, limit_down=0.1, margin=10),
        Listed("stock", "2330", "24", 1000),
        Listed("stock", "2317", "31", 200),
    )  # fmt: skip
    for number, cash in ((RICH, 10_000), (POOR, 0.01)):
        exchange.open_account(Account("F", *number.split("-"), cash))
    exchange.open_account(Account("S", *STOCKS.split("-"), 5_000_000))
    exchange.keys["key"] = "secret"
    return exchange


class ShioajiVenue(Venue, frozen=True):
    """With a hand on the exchange, the session and what it wrote down."""

    exchange: Exchange
    session: Session
    server: SessionServer
    calls: Calls
    settings: ShioajiSettings
    stocks: Any


def made_session(
    exchange: Exchange,
    settings: ShioajiSettings,
    *,
    now: Callable[[], float] = monotonic,
    sleep: Any = asyncio.sleep,
) -> tuple[Session, Journal]:
    """Logged in, with its contracts. Needs a running loop."""
    clock = SystemClock()
    journal = Journal(settings.journal("chen"), clock, now)
    client = module.Sdk(LocalLink(exchange))
    accounts = client.login("key", "secret")
    calls = Calls(settings, journal, now=now, sleep=sleep)
    session = Session(Desk(client, module, accounts, settings, journal, clock, calls))
    session.table.load()
    return session, journal


@asynccontextmanager
async def served(
    exchange: Exchange, settings: ShioajiSettings
) -> AsyncIterator[tuple[Session, SessionServer]]:
    """A session at its socket."""
    session, journal = made_session(exchange, settings)
    socket = settings.socket("chen")
    server = SessionServer(session, socket, tenant=TENANT, api_key="key")
    await server.start()
    try:
        yield session, server
    finally:
        exchange.release()  # nothing hangs when the threads are joined
        await server.stop()
        session.close()
        journal.close()


def an_account_of(number: str, **changed: Any) -> Any:
    facts: dict[str, Any] = {"currency": "TWD", "settings": {"person": "chen", "account": number}}
    return an_account(**(facts | changed))


@asynccontextmanager
async def shioaji(**changed: Any) -> AsyncIterator[ShioajiVenue]:
    with tempfile.TemporaryDirectory() as directory:
        settings = shioaji_settings(Path(directory), **changed)
        exchange = a_market()
        async with served(exchange, settings) as (session, server):
            broker = ShioajiBroker(settings, SystemClock())

            async def move(price: Decimal) -> None:
                exchange.set_price(SYMBOL, float(price))

            await broker.open()
            try:
                yield ShioajiVenue(
                    broker=broker,
                    account=an_account_of(RICH),
                    poor=an_account_of(POOR),
                    symbol=SYMBOL,
                    move=move,
                    currency="TWD",
                    exchange=exchange,
                    session=session,
                    server=server,
                    calls=session.calls,
                    settings=settings,
                    stocks=an_account_of(STOCKS),
                )
            finally:
                await broker.close()
