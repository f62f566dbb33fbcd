"""Hints: what the broker tells by itself. They are reasons to ask, and nothing to believe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import cast

from fanout.abilities import Hint
from tests.acceptance.case import case
from tests.acceptance.desk import Desk
from tests.acceptance.needs import TELLS

Told = AsyncGenerator[Hint, None]


@asynccontextmanager
async def listening(desk: Desk) -> AsyncIterator[Told]:
    """After the gap that every stream begins with."""
    told = cast(Told, desk.broker.hints(desk.account))
    async with asyncio.timeout(5), aclosing(told):
        assert (await anext(told)).kind == "gap"
        yield told


@case("TC-E150", "the first hint is a gap: what was before it must be asked for", TELLS)
async def begins(desk: Desk) -> None:
    async with listening(desk) as told:
        assert told is not None


@case("TC-E151", "a fill is hinted at, and by no other order's name", TELLS)
async def fill(desk: Desk) -> None:
    async with listening(desk) as told:
        order = desk.order()
        await desk.placed(order)
        async for hint in told:
            if hint.kind == "fill":
                break
        assert hint.symbol == desk.symbol
        assert hint.cl_ord_id in (order.cl_ord_id, None), "where the broker names it"
        assert hint.account_id == desk.account.account_id


@case("TC-E152", "an order that rests is hinted at, and by no other's name", TELLS)
async def order_(desk: Desk) -> None:
    async with listening(desk) as told:
        order = desk.limit()
        await desk.placed(order)
        async for hint in told:
            if hint.kind == "order":
                break
        assert hint.symbol == desk.symbol
        assert hint.cl_ord_id in (order.cl_ord_id, None)
