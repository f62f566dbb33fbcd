"""What an adapter says of itself: instruments to size with, caps, the longest request, a key's proof."""

from __future__ import annotations

from datetime import timedelta

from fanout.proof import Proven
from tests.acceptance.case import case
from tests.acceptance.desk import Desk, now, soon


@case("TC-E190", "instruments can be sized with")
async def instruments(desk: Desk) -> None:
    table = await desk.broker.instruments()
    assert desk.symbol in table
    for symbol, one in table.items():
        assert one.symbol == symbol
        assert min(one.multiplier, one.tick, one.lot_step, one.min_qty) > 0
        assert one.min_qty % one.lot_step == 0
        assert one.max_qty >= one.min_qty
        assert one.last_price is None or one.last_price > 0
        assert one.currency == desk.venue.currency
        assert one.min_notional >= 0


@case("TC-E191", "instruments are not old, and have a quote near the last price")
async def quotes(desk: Desk) -> None:
    table = await desk.broker.instruments()
    for one in table.values():
        assert abs(one.as_of - now()) < timedelta(seconds=60)
        if one.bid is not None and one.ask is not None:
            assert 0 < one.bid <= one.ask
    ours = table[desk.symbol]
    assert ours.bid is not None, "the spread filter needs a quote"
    assert ours.ask is not None
    assert abs(ours.bid - ours.last_price) < ours.last_price / 100


@case("TC-E192", "caps name market and limit, and what is sent for every time in force they take")
async def caps(desk: Desk) -> None:
    assert {"market", "limit"} <= desk.caps.ord_types == set(desk.caps.times_in_force)
    for rows in desk.caps.times_in_force.values():
        assert all(rows[sent] == sent for sent in rows.values()), "a fall-back maps to itself"
    assert desk.caps.orders_per_s > 0


@case("TC-E193", "the longest request is stated, so that a lease can outlive it")
async def longest_request(desk: Desk) -> None:
    assert 0 < desk.broker.request_timeout_s < 60


@case("TC-E194", "a key that may trade and nothing else is proven")
async def proven(desk: Desk) -> None:
    proof = await desk.broker.prove(desk.account, test_order=None, not_after=soon())
    assert isinstance(proof, Proven), proof
    assert await desk.held() == 0
    assert not await desk.open()


@case("TC-E195", "the account's turn comes")
async def turn(desk: Desk) -> None:
    await desk.broker.turn(desk.account)
    await desk.broker.turn(desk.account, closes=True)
