"""Gate.io's stream against the simulator's own WebSocket: hints in time, and a gap after every cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from decimal import Decimal
from typing import cast

import pytest

from fanout.abilities import Hint
from fanout.ports import Acked
from loadtest.exchanges.gateio.faults import Rule
from tests.contract.venues import GateioVenue, gateio
from tests.fakes.orders import an_order, submitted

Told = AsyncGenerator[Hint, None]


@pytest.fixture
async def venue() -> AsyncIterator[GateioVenue]:
    async with gateio() as up:
        yield up


def told(venue: GateioVenue) -> aclosing[Told]:
    return aclosing(cast(Told, venue.broker.hints(venue.account)))


async def until_kinds(hints: Told, wanted: set[str]) -> list[Hint]:
    """Hints up to the one that makes the set whole."""
    heard: list[Hint] = []
    async with asyncio.timeout(5):
        async for hint in hints:
            heard.append(hint)
            if wanted <= {one.kind for one in heard}:
                return heard
    raise AssertionError("the hints ended")


async def test_an_order_its_fill_its_position_and_the_money_are_hinted_at(
    venue: GateioVenue,
) -> None:
    async with told(venue) as hints:
        assert (await anext(hints)).kind == "gap"
        order = an_order(venue.account, order_qty=Decimal(2))
        assert isinstance(await submitted(venue.broker, venue.account, order), Acked)
        heard = await until_kinds(hints, {"order", "fill", "position", "balance"})
        named = {one.cl_ord_id for one in heard if one.kind in ("order", "fill")}
        assert named == {order.cl_ord_id}
        assert {one.symbol for one in heard if one.kind != "balance"} == {"BTC_USDT"}


async def test_what_a_cut_swallows_is_made_up_for_by_a_gap_and_a_question(
    venue: GateioVenue,
) -> None:
    async with told(venue) as hints:
        assert (await anext(hints)).kind == "gap"
        await venue.control.set_faults(Rule(kind="ws_cut", times=1))
        order = an_order(venue.account, order_qty=Decimal(2))
        assert isinstance(await submitted(venue.broker, venue.account, order), Acked)
        heard = await until_kinds(hints, {"gap"})
        assert heard[-1].kind == "gap"
        assert [one.qty for one in await venue.broker.positions(venue.account)] == [2]
