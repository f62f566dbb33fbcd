"""Stops against an independent oracle: the whole path of prices at once, in fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fanout.order import Protect
from fanout.stops_rules import Watch, opposite, protective, see
from tenancy.protection import StopLoss, TakeProfit
from tests.builders import instrument

PRICES = st.integers(1_000, 2_000).map(Decimal)
PATHS = st.lists(PRICES, min_size=1, max_size=40)
SIDES = st.sampled_from(["buy", "sell"])
ONE = instrument(tick=Decimal(1))


def walk(watch: Watch, path: list[Decimal]) -> tuple[int | None, Watch]:
    """At which look it is let go, and the watch then."""
    for index, price in enumerate(path):
        watch, reached = see(watch, price, ONE)
        if reached:
            return index, watch
    return None, watch


def mirrored(path: list[Decimal]) -> list[Decimal]:
    return [3_000 - price for price in path]


@given(SIDES, PRICES, PATHS)
def test_stop_is_let_go_at_the_first_price_beyond_its_level(side, level, path):
    beyond = [p >= level if side == "buy" else p <= level for p in path]
    want = beyond.index(True) if True in beyond else None
    assert walk(Watch(side=side, level=level), path)[0] == want


@given(SIDES, PRICES, PATHS)
def test_target_is_let_go_at_the_first_price_that_fills_it(side, level, path):
    beyond = [p <= level if side == "buy" else p >= level for p in path]
    want = beyond.index(True) if True in beyond else None
    assert walk(Watch(side=side, target=True, level=level), path)[0] == want


@given(st.integers(1, 300), PATHS)
def test_trailing_stop_is_the_running_best_less_its_distance(distance, path):
    """An oracle without state: at each price, the maximum of all prices so far."""
    want = next(
        (
            i
            for i, price in enumerate(path)
            if Fraction(price) <= max(map(Fraction, path[: i + 1])) - distance
        ),
        None,
    )
    assert walk(Watch(side="sell", trail_amount=Decimal(distance)), path)[0] == want


@given(st.integers(1, 300), PATHS)
def test_both_sides_are_one_rule(distance, path):
    sell = walk(Watch(side="sell", trail_amount=Decimal(distance)), path)[0]
    assert walk(Watch(side="buy", trail_amount=Decimal(distance)), mirrored(path))[0] == sell


@given(SIDES, st.integers(1, 300), PATHS)
def test_stop_only_ever_moves_in_favour(side, distance, path):
    watch = Watch(
        side=side, trail_amount=Decimal(distance), entry=path[0], breakeven_at=Decimal(1_500)
    )
    for price in path:
        after, _ = see(watch, price, ONE)
        if watch.level is not None:
            assert after.level is not None
            assert after.level >= watch.level if side == "sell" else after.level <= watch.level
        watch = after


@given(SIDES, st.integers(1, 300), PATHS, st.integers(0, 39))
def test_taking_over_from_what_was_stored_changes_nothing(side, distance, path, cut):
    """The next owner starts from the row: level, best price and breakeven."""
    whole = walk(Watch(side=side, trail_amount=Decimal(distance)), path)
    first, stored = walk(Watch(side=side, trail_amount=Decimal(distance)), path[:cut])
    if first is None:
        again = msgspec.json.decode(msgspec.json.encode(stored), type=Watch)
        later, _ = walk(again, path[cut:])
        assert (None if later is None else cut + later) == whole[0]


@given(SIDES, st.integers(1, 100_000), st.integers(1, 5_000), st.integers(1, 500))
def test_protection_is_on_the_tick_never_nearer_than_asked_and_never_worse(side, cents, bp, tick):
    entry, percent, step = Decimal(cents) / 100 + 100, Decimal(bp) / 100, Decimal(tick) / 100
    its = instrument(tick=step)
    stop, target = protective(
        Protect(stop_loss=StopLoss(percent=percent), take_profit=TakeProfit(percent=percent)),
        side, entry, its,
    )  # fmt: skip
    assert stop is not None
    assert stop.stop_px is not None
    assert target is not None
    assert target.price is not None
    distance = Fraction(entry) * Fraction(percent) / 100
    favour = 1 if side == "buy" else -1
    assert stop.stop_px % step == 0
    assert target.price % step == 0
    assert (
        favour * (Fraction(entry) - favour * distance - Fraction(stop.stop_px)) >= 0
        or stop.stop_px == step
    )
    assert (
        favour * (Fraction(target.price) - Fraction(entry) - favour * distance) >= 0
        or target.price == step
    )
    watch = Watch(side=opposite(side), level=stop.stop_px)
    assert not see(watch, entry, its)[1] or stop.stop_px == step
