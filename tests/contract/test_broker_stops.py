"""What a broker owes us that has stops of its own: tests/contract/test_broker.py, continued.

Where the caps do not name a type, b25 shows that it is refused.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from fanout.order import FINAL, OrdState
from fanout.ports import CancelDone
from tests.contract.test_broker import found, held, market, placed, refused, venue
from tests.contract.venues import Venue

__all__ = ["venue"]


def has(venue: Venue, ord_type: str) -> bool:
    """Where the caps do not name it, b25 shows that it is refused."""
    return ord_type in venue.broker.caps.ord_types


@pytest.mark.parametrize(("side", "to"), [("buy", "1.1"), ("sell", "0.9")])
async def test_b27_a_stop_rests_until_its_price_and_is_then_a_market_order(
    venue: Venue, side: str, to: str
) -> None:
    if not has(venue, "stop"):
        return
    order = market(venue, side=side, ord_type="stop", stop_px=await venue.price_at(to))
    assert (await placed(venue, order)).ord_status is OrdState.NEW
    half = (await venue.price() + await venue.price_at(to)) / 2
    await venue.move(half)
    assert (await found(venue, order)).ord_status is OrdState.NEW
    beyond = await venue.price_at("1.2" if side == "buy" else "0.8")
    await venue.move(beyond)
    seen = await found(venue, order)
    assert (seen.ord_status, seen.cum_qty) == (OrdState.FILLED, 10)
    assert seen.avg_px is not None
    assert abs(seen.avg_px / beyond - 1) < Decimal("0.01")


async def test_b28_a_stop_limit_is_a_limit_order_once_its_stop_is_reached(venue: Venue) -> None:
    if not has(venue, "stop_limit"):
        return
    stop, limit = await venue.price_at("1.1"), await venue.price_at("1.15")
    order = market(venue, ord_type="stop_limit", stop_px=stop, price=limit)
    await placed(venue, order)
    await venue.move(await venue.price_at("1.2"))  # through the limit: it rests
    assert (await found(venue, order)).ord_status is OrdState.NEW
    await venue.move(limit)
    seen = await found(venue, order)
    assert seen.ord_status is OrdState.FILLED
    assert seen.avg_px is not None
    assert seen.avg_px <= limit


async def test_b29_a_trailing_stop_follows_the_market_and_never_goes_back(venue: Venue) -> None:
    if not has(venue, "trailing_stop"):
        return
    await placed(venue, market(venue))
    start = await venue.price()
    order = market(
        venue, side="sell", ord_type="trailing_stop", trail_percent=Decimal(5), reduce_only=True
    )
    await placed(venue, order)
    for factor, status in (
        ("1.2", OrdState.NEW),
        ("1.15", OrdState.NEW),
        ("1.13", OrdState.FILLED),
    ):
        await venue.move((start * Decimal(factor)).quantize(Decimal("0.1")))
        assert (await found(venue, order)).ord_status is status, factor
    assert await held(venue) == 0


async def test_b30_a_waiting_stop_is_open_and_can_be_cancelled(venue: Venue) -> None:
    if not has(venue, "stop"):
        return
    order = market(venue, ord_type="stop", stop_px=await venue.price_at("1.1"))
    await placed(venue, order)
    assert [row.cl_ord_id for row in await venue.broker.open_orders(venue.account)] == [
        order.cl_ord_id
    ]
    assert isinstance(await venue.broker.cancel(venue.account, order), CancelDone)
    await venue.move(await venue.price_at("1.2"))
    assert (await found(venue, order)).ord_status is OrdState.CANCELED
    assert await held(venue) == 0


async def test_b31_a_reduce_only_stop_whose_position_is_gone_opens_nothing(venue: Venue) -> None:
    if not has(venue, "stop"):
        return
    await placed(venue, market(venue))
    stop = await venue.price_at("0.9")
    order = market(venue, side="sell", ord_type="stop", stop_px=stop, reduce_only=True)
    await placed(venue, order)
    await placed(venue, market(venue, side="sell"))
    await venue.move(await venue.price_at("0.8"))
    assert (await found(venue, order)).ord_status in FINAL
    assert await held(venue) == 0


async def test_b32_a_stop_without_a_price_on_the_tick_is_refused(venue: Venue) -> None:
    if not has(venue, "stop"):
        return
    tick = (await venue.broker.instruments())[venue.symbol].tick
    off = await venue.price_at("1.1") + tick / 2
    for wrong in (None, off):
        assert (await refused(venue, market(venue, ord_type="stop", stop_px=wrong))).kind == "price"
