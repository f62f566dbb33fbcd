"""When a held order is let go, how a stop follows the market, where protection stands. Pure.

A *watch* is what the engine knows of one held order; `see` is one look at one price. Both sides are
one rule: `toward` says which way of the market the order waits for.

- a stop to sell waits for the price to fall to its level, a stop to buy for it to rise;
- a target to sell waits for the price to rise to its level, a target to buy for it to fall;
- a trailing stop stands a distance behind the best price seen and only ever moves with it;
- breakeven: once the market is so far in favour, the stop stands at the entry's price, if nearer.

Levels are rounded to the instrument's tick: a stop's away from the market (it never triggers
earlier than asked), a target's no worse for the account. One look first moves the level and then
compares, and a price that moves a stop cannot reach it.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal, localcontext

import msgspec

from fanout.order import Order, OrdType, Protect, Side
from fanout.ports import Instrument
from fanout.rounding import to_tick
from tenancy.protection import StopLoss, TakeProfit

HUNDRED = Decimal(100)


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """What one held order waits for. `level` None: a trailing stop that has seen no price yet."""

    side: Side
    target: bool = False  # else a stop
    level: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    best: Decimal | None = None
    breakeven_at: Decimal | None = None
    entry: Decimal | None = None

    @property
    def trails(self) -> bool:
        return self.trail_amount is not None or self.trail_percent is not None


class Levels(msgspec.Struct, frozen=True, kw_only=True):
    """Where one of a pair stands behind an entry, and as what kind of order."""

    ord_type: OrdType
    stop_px: Decimal | None = None
    price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    best_px: Decimal | None = None
    breakeven_px: Decimal | None = None


def watch_of(order: Order) -> Watch:
    """What a held order waits for."""
    target = order.role == "target"
    return Watch(
        side=order.side,
        target=target,
        level=order.price if target else order.stop_px,
        trail_amount=order.trail_amount,
        trail_percent=order.trail_percent,
        best=order.best_px,
        breakeven_at=order.breakeven_px,
        entry=order.entry_px,
    )


def see(watch: Watch, price: Decimal, instrument: Instrument | None = None) -> tuple[Watch, bool]:
    """The watch after it has seen `price`, and whether its level is reached. `price` > 0."""
    if watch.target:
        return watch, _reached(watch, price)
    moved = _broken_even(_trailed(watch, price, instrument), price)
    return moved, _reached(moved, price)


def watched_price(instrument: Instrument, side: Side) -> Decimal | None:
    """What a held order is compared with: the mark; else what its side would trade at; else the last.

    A mark is harder to push than a quote, and a quote is nearer to the truth than an old trade.
    """
    quote = instrument.bid if side == "sell" else instrument.ask
    for price in (instrument.mark_price, quote, instrument.last_price):
        if price is not None and price > 0:
            return price
    return None


def fresh_price(
    instrument: Instrument | None, side: Side, now: datetime, stale_s: float
) -> tuple[Decimal | None, float]:
    """The price to compare with, or None where there is none that counts; and its age, seconds."""
    if instrument is None:
        return None, 0.0
    age_s = (now - instrument.as_of).total_seconds()
    return (watched_price(instrument, side) if age_s <= stale_s else None), age_s


def protective(
    protect: Protect, side: Side, entry: Decimal, instrument: Instrument | None
) -> tuple[Levels | None, Levels | None]:
    """Stop and target behind an entry on `side` that filled at `entry` on average."""
    stop = target = None
    if protect.stop_loss is not None:
        stop = _stop_levels(protect.stop_loss, side, entry, instrument)
    if protect.take_profit is not None:
        target = _target_levels(protect.take_profit, side, entry, instrument)
    return stop, target


def opposite(side: Side) -> Side:
    return "sell" if side == "buy" else "buy"


def on_tick(price: Decimal, instrument: Instrument | None, *, side: Side) -> Decimal:
    """Down to the tick for a buy, up for a sell; as it is where the instrument is not known."""
    if instrument is None:
        return price
    rounded = to_tick(price, instrument, "down" if side == "buy" else "up")
    return rounded if rounded > 0 else instrument.tick_at(price)


# ------------------------------------------------------------------ one look


def _reached(watch: Watch, price: Decimal) -> bool:
    if watch.level is None:
        return False
    rising = (watch.side == "sell") == watch.target
    return price >= watch.level if rising else price <= watch.level


def _trailed(watch: Watch, price: Decimal, instrument: Instrument | None) -> Watch:
    if not watch.trails:
        return watch
    favours = max if watch.side == "sell" else min
    best = price if watch.best is None else favours(watch.best, price)
    if best == watch.best and watch.level is not None:
        return watch
    level = _behind(best, watch, instrument)
    # Breakeven may have brought it nearer than the distance: it never goes back.
    level = level if watch.level is None else favours(watch.level, level)
    return msgspec.structs.replace(watch, best=best, level=level)


def _behind(best: Decimal, watch: Watch, instrument: Instrument | None) -> Decimal:
    distance = watch.trail_amount
    if distance is None:
        assert watch.trail_percent is not None
        distance = _percent(best, watch.trail_percent)
    level = best - distance if watch.side == "sell" else best + distance
    # A distance that is more than the price can never be reached; a level must be above zero.
    return _away(max(level, _least(instrument)), watch.side, instrument)


def _broken_even(watch: Watch, price: Decimal) -> Watch:
    at, entry = watch.breakeven_at, watch.entry
    if at is None or entry is None:
        return watch
    there = price >= at if watch.side == "sell" else price <= at
    if not there:
        return watch
    favours = max if watch.side == "sell" else min
    level = entry if watch.level is None else favours(watch.level, entry)
    return msgspec.structs.replace(watch, level=level, breakeven_at=None)


# ------------------------------------------------------------------ where protection stands


def _stop_levels(
    stop: StopLoss, entered: Side, entry: Decimal, instrument: Instrument | None
) -> Levels:
    side = opposite(entered)
    breakeven = _distance(entry, stop.breakeven_percent, stop.breakeven_amount)
    favour = 1 if entered == "buy" else -1
    at = None if breakeven is None else entry + favour * breakeven
    at = at if at is None or at > 0 else None  # below zero the market never comes
    if stop.type == "trailing_stop":
        trailing = Watch(
            side=side, trail_amount=stop.trail_amount, trail_percent=stop.trail_percent
        )
        return Levels(
            ord_type="trailing_stop",
            stop_px=_behind(entry, trailing, instrument),
            trail_amount=stop.trail_amount,
            trail_percent=stop.trail_percent,
            best_px=entry,
            breakeven_px=at,
        )
    level = stop.stop_price
    if level is None:
        distance = _distance(entry, stop.percent, stop.amount)
        assert distance is not None
        level = max(entry - favour * distance, _least(instrument))
    price = None
    if stop.type == "stop_limit":
        assert stop.limit_price is not None
        price = on_tick(stop.limit_price, instrument, side=side)
    return Levels(
        ord_type=stop.type, stop_px=_away(level, side, instrument), price=price, breakeven_px=at
    )


def _target_levels(
    target: TakeProfit, entered: Side, entry: Decimal, instrument: Instrument | None
) -> Levels:
    level = target.limit_price
    if level is None:
        distance = _distance(entry, target.percent, target.amount)
        assert distance is not None
        level = entry + distance if entered == "buy" else entry - distance
    level = max(level, _least(instrument))
    return Levels(ord_type="limit", price=on_tick(level, instrument, side=opposite(entered)))


def _distance(entry: Decimal, percent: Decimal | None, amount: Decimal | None) -> Decimal | None:
    return amount if percent is None else _percent(entry, percent)


def _percent(price: Decimal, percent: Decimal) -> Decimal:
    with localcontext() as context:
        context.prec = 60
        return price * percent / HUNDRED


def _away(level: Decimal, side: Side, instrument: Instrument | None) -> Decimal:
    """A stop to sell stands below the market: down. A stop to buy: up."""
    return on_tick(level, instrument, side=opposite(side))


def _least(instrument: Instrument | None) -> Decimal:
    return Decimal("1e-18") if instrument is None else instrument.tick
