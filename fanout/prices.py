"""The prices of an order: what sizing goes by, what the order carries, how far away its stop is. Pure.

Spec: signal.md (`limitPrice`, `stopPrice`: left out, the current market price), sizing.md (the
reference price; rounding to the tick).
"""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction

import msgspec

from fanout.options import has_option_fields
from fanout.order import OrdType, Side, TimeInForce
from fanout.ports import Instrument
from fanout.reasons import Reason
from fanout.rounding import limit_way, stop_way, to_tick
from fanout.signal import Signal
from tenancy.protection import StopLoss

_EXACTLY = Context(prec=120)
HUNDRED = Decimal(100)


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What one leg is sent with."""

    ord_type: OrdType
    time_in_force: TimeInForce
    price: Decimal | None = None
    stop_px: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None


def market_price(signal: Signal, instrument: Instrument) -> Decimal | None:
    """The broker's mark or last, else the sender's price."""
    known = instrument.reference
    return known if known is not None else senders_price(signal)


def senders_price(signal: Signal) -> Decimal | None:
    """What the sender says of the instrument's price; of a scan for options it is the underlying's."""
    return None if has_option_fields(signal) else signal.reference_price


def reference_price(signal: Signal, ord_type: OrdType, instrument: Instrument) -> Decimal | None:
    """What quantities and notionals go by: the limit price of orders that have one, else the market's."""
    if ord_type in ("limit", "stop_limit") and signal.limit_price is not None:
        return signal.limit_price
    return market_price(signal, instrument)


def terms(
    signal: Signal,
    ord_type: OrdType,
    time_in_force: TimeInForce,
    side: Side,
    instrument: Instrument,
    rounding: str,
) -> Terms | Reason:
    """The leg's prices on the instrument's grid, or why it cannot have them."""
    if ord_type == "market":
        return Terms(ord_type=ord_type, time_in_force=time_in_force)
    market = market_price(signal, instrument)
    price = stop = None
    if ord_type in ("limit", "stop_limit"):
        asked = signal.limit_price or market
        if asked is None:
            return Reason.NO_PRICE
        price = to_tick(asked, instrument, limit_way(side, rounding))
    if ord_type in ("stop", "stop_limit"):
        asked = signal.stop_price or market
        if asked is None:
            return Reason.NO_PRICE
        stop = to_tick(asked, instrument, stop_way(side, rounding))
    if ord_type == "trailing_stop":
        return _trailing(signal, time_in_force, side, instrument, rounding, market)
    if (price is not None and price <= 0) or (stop is not None and stop <= 0):
        return Reason.NO_PRICE
    return Terms(ord_type=ord_type, time_in_force=time_in_force, price=price, stop_px=stop)


def _trailing(
    signal: Signal,
    time_in_force: TimeInForce,
    side: Side,
    instrument: Instrument,
    rounding: str,
    market: Decimal | None,
) -> Terms | Reason:
    """It begins at the market and the trail away from it."""
    if signal.trail_amount is None and signal.trail_percent is None:
        return Reason.ORDER_TYPE_UNSUPPORTED
    if market is None:
        return Reason.NO_PRICE
    trail = signal.trail_amount
    if trail is None:
        assert signal.trail_percent is not None
        trail = _EXACTLY.divide(_EXACTLY.multiply(market, signal.trail_percent), HUNDRED)
    start = _EXACTLY.add(market, trail) if side == "buy" else _EXACTLY.subtract(market, trail)
    stop = to_tick(start, instrument, stop_way(side, rounding)) if start > 0 else Decimal(0)
    if stop <= 0:
        return Reason.NO_PRICE
    return Terms(
        ord_type="trailing_stop",
        time_in_force=time_in_force,
        stop_px=stop,
        trail_amount=signal.trail_amount,
        trail_percent=signal.trail_percent,
    )


def distance(
    signal: Signal, stop: StopLoss, ord_type: OrdType, side: Side, price: Decimal
) -> Fraction | None:
    """From the entry to its stop, in price; None where the stop is not on the losing side.

    There is no fill yet, so relative stops count from the limit price of orders that have one, else
    from the sender's price, else from the market's (spec signal.md).
    """
    base = price
    limited = ord_type in ("limit", "stop_limit") and signal.limit_price is not None
    said = senders_price(signal)
    if not limited and said is not None:
        base = said
    if stop.stop_price is not None:
        away = Fraction(price) - Fraction(stop.stop_price)
        return (
            (away if side == "buy" else -away) if (away > 0) == (side == "buy") and away else None
        )
    amount = stop.amount if stop.amount is not None else stop.trail_amount
    if amount is not None:
        return Fraction(amount)
    percent = stop.percent if stop.percent is not None else stop.trail_percent
    assert percent is not None, "a stop loss says where it stands"
    return Fraction(base) * Fraction(percent) / 100


def spread_too_wide(
    instrument: Instrument,
    absolute: tuple[Decimal | None, ...],
    percent: tuple[Decimal | None, ...],
) -> Reason | None:
    """Whether bid and ask are further apart than the tightest of each allows; no quote, no entry."""
    most = min((value for value in absolute if value is not None), default=None)
    most_percent = min((value for value in percent if value is not None), default=None)
    if most is None and most_percent is None:
        return None
    bid, ask = instrument.bid, instrument.ask
    if bid is None or ask is None or bid <= 0 or ask <= 0:
        return Reason.NO_QUOTE
    apart = Fraction(ask) - Fraction(bid)
    if most is not None and apart > Fraction(most):
        return Reason.SPREAD_TOO_WIDE
    middle = (Fraction(ask) + Fraction(bid)) / 2
    if most_percent is not None and apart * 100 > Fraction(most_percent) * middle:
        return Reason.SPREAD_TOO_WIDE
    return None
