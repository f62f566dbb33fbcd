"""The columns of the table: each adapter on its simulator, and how a case gets an account of its own there.

Gate.io's venues stand for a whole column, and each case gets fresh accounts at the first price; paper,
the template and Shioaji are so quickly made, and Shioaji's limits so much a person's, that each case gets its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Any

import msgspec

from fanout.brokers.paper.adapter import PaperBroker
from fanout.brokers.paper.settings import PaperSettings
from fanout.ports import Broker
from loadtest.exchanges.gateio.faults import Kind, Rule
from loadtest.exchanges.shioaji.faults import Fault
from tenancy.clock import SystemClock
from tests.acceptance.case import Claims
from tests.acceptance.desk import Desk, Spoil, Spoilt
from tests.contract import venues
from tests.contract.adapters import ADAPTERS
from tests.contract.shioaji_venue import ShioajiVenue, shioaji
from tests.contract.template_venue import TemplateVenue, template
from tests.contract.venues import BTC, Venue
from tests.fakes.orders import an_account

Fresh = Callable[[], AbstractAsyncContextManager[Venue]]
"""A venue with accounts that nobody used before."""


@dataclass(frozen=True)
class Column:
    """`adapter`: makes one as in production, for its Caps without a simulator."""

    adapter: Callable[[], Broker]
    open: Callable[[], AbstractAsyncContextManager[Fresh]]
    also: frozenset[str] = frozenset()
    spoil: Spoil | None = None

    def claims(self) -> Claims:
        return Claims(self.adapter().caps, self.also)


@asynccontextmanager
async def seated(column: Column, fresh: Fresh) -> AsyncIterator[Desk]:
    """A desk for one case."""
    async with fresh() as venue:
        instrument = (await venue.broker.instruments())[venue.symbol]
        yield Desk(venue, instrument, column.spoil)


# ------------------------------------------------------------------ one venue for all its cases


@asynccontextmanager
async def gateio() -> AsyncIterator[Fresh]:
    async with venues.gateio() as up:

        async def open_account(key: str, balance: Decimal) -> None:
            await up.control.create_account(key, "s1", balance=balance)

        yield _sharing(up, open_account, up.control.clear_faults, await up.price())


@asynccontextmanager
async def gateio_spot() -> AsyncIterator[Fresh]:
    async with venues.gateio_spot() as up:

        async def open_account(key: str, balance: Decimal) -> None:
            await up.control.create_spot_account(key, "s1", points=True, USDT=balance)

        yield _sharing(up, open_account, up.control.clear_faults, await up.price())


def _sharing(
    up: Venue,
    open_account: Callable[[str, Decimal], Awaitable[None]],
    heal: Callable[[], Awaitable[None]],
    start: Decimal,
) -> Fresh:
    numbers = count(1)

    @asynccontextmanager
    async def fresh() -> AsyncIterator[Venue]:
        number = next(numbers)
        await heal()
        await up.move(start)
        for name, balance in (("rich", Decimal(10_000)), ("poor", Decimal("0.01"))):
            await open_account(f"{name}{number}", balance)
        account = an_account(api_key=f"rich{number}")
        poor = an_account(api_key=f"poor{number}")
        try:
            yield msgspec.structs.replace(up, account=account, poor=poor)
        finally:  # what rests would trade in the next case, and make its last price
            await up.broker.cancel_all(account, None)  # type: ignore[attr-defined]

    return fresh


# ------------------------------------------------------------------ a venue for each case


def _each_its_own(make: Callable[[], Any]) -> Callable[[], AbstractAsyncContextManager[Fresh]]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Fresh]:
        yield make

    return opened


# ------------------------------------------------------------------ what befalls the next order


def _gate_spoils(path: str) -> Spoil:
    kinds: dict[Spoilt, Kind] = {
        "lost_before": "drop_before", "lost_after": "drop_after", "busy": "429",
    }  # fmt: skip

    async def spoil(venue: Any, how: Spoilt) -> None:
        rule = Rule(kind=kinds[how], path=path, key=venue.account.api_key, times=1)
        await venue.control.set_faults(rule)

    return spoil


async def _sinopac_spoils(venue: Venue, how: Spoilt) -> None:
    kinds = {"lost_before": "lose_before", "lost_after": "lose_after", "busy": "ban"}
    assert isinstance(venue, ShioajiVenue)
    venue.exchange.faults.rules.append(Fault("place", kinds[how]))


def _paper_plain() -> Broker:
    return PaperBroker(PaperSettings(instruments=[BTC], conditional_orders=False), SystemClock())


async def _tiny_spoils(venue: Venue, how: Spoilt) -> None:
    assert isinstance(venue, TemplateVenue)
    venue.exchange.next_order = how


COLUMNS: dict[str, Column] = {
    "gateio": Column(
        ADAPTERS["gateio"], gateio, frozenset({"hedge", "network", "amend_qty"}),
        _gate_spoils("/api/v4/futures/usdt/orders"),
    ),
    "gateio_spot": Column(
        ADAPTERS["gateio_spot"], gateio_spot, frozenset({"network", "amend_qty"}),
        _gate_spoils("/api/v4/spot/orders"),
    ),
    "shioaji": Column(
        ADAPTERS["shioaji"], _each_its_own(shioaji), frozenset({"network"}), _sinopac_spoils
    ),
    "paper": Column(ADAPTERS["paper"], _each_its_own(venues.paper)),
    "paper-plain": Column(_paper_plain, _each_its_own(venues.paper_plain)),
    "template": Column(
        ADAPTERS["template"], _each_its_own(template), frozenset({"network"}), _tiny_spoils
    ),
}  # fmt: skip
