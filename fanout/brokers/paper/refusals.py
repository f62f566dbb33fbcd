"""Why a broker would refuse an order, in its own sequence and by its own labels. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import msgspec

from fanout.brokers.paper.rules import Check, Fault, Rules
from fanout.order import Order
from fanout.ports import Instrument, Rejected


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """An order, and what its book knows that decides about it."""

    order: Order
    instrument: Instrument | None
    ord_types: frozenset[str]
    qty: Decimal
    """What is asked for, after a cut to what there is to reduce."""
    held: Decimal
    used: bool
    """Its ClOrdID was there before."""
    open_count: int
    """Orders open in its contract."""
    fills_whole: bool
    short: Callable[[], str | None]
    """What is missing to pay for it, in words; asked last, since it looks at everything held."""


No = tuple[Fault, str]


def refusal(rules: Rules, it: Sight) -> tuple[Rejected, Check] | None:
    """The first fault in the broker's own sequence, and at which look it was found."""
    for check in rules.sequence:
        found = _CHECKS[check](rules, it)
        if found is None or found[0] not in rules.no:
            continue
        code, kind = rules.no[found[0]]
        return Rejected(code=code, kind=kind, text=found[1]), check
    return None


def takes(rules: Rules, order: Order) -> bool:
    """Whether it fills at once or is gone, by what that broker makes of its time in force."""
    sent = rules.times_in_force.get(order.ord_type, {}).get(order.time_in_force)
    return sent in ("ioc", "fok")


def _known(_: Rules, it: Sight) -> No | None:
    return None if it.instrument is not None else ("unknown", f"no contract {it.order.symbol}")


def _type(rules: Rules, it: Sight) -> No | None:
    order, known = it.order, rules.times_in_force.get(it.order.ord_type, {})
    if order.ord_type in it.ord_types and order.time_in_force in known:
        if not rules.whole_lots or order.order_qty == order.order_qty.to_integral_value():
            return None
        return "part_of_lot", f"{order.order_qty} is no whole number of contracts"
    return "unsupported", f"{order.ord_type} {order.time_in_force}"


def _odd_type(rules: Rules, it: Sight) -> No | None:
    odd = (
        it.instrument is not None and it.instrument.kind == "stock" and it.instrument.lot_step == 1
    )
    if not odd or (it.order.ord_type == "limit" and not takes(rules, it.order)):
        return None
    return "unsupported", "an odd lot is a limit order for the day"


def _quoted(_: Rules, it: Sight) -> No | None:
    if it.instrument is None or it.instrument.last_price is not None:
        return None
    return "no_price", f"{it.order.symbol} has no reference price"


def _name(_: Rules, it: Sight) -> No | None:
    return ("duplicate", f"{it.order.cl_ord_id} was used before") if it.used else None


def _sized(rules: Rules, it: Sight) -> Decimal:
    return it.qty if rules.cuts_first else it.order.order_qty


def _least(rules: Rules, it: Sight) -> No | None:
    qty = _sized(rules, it)
    if it.instrument is None or qty >= it.instrument.min_qty:
        return None
    return "too_small", f"{qty} is below {it.instrument.min_qty}"


def _most(rules: Rules, it: Sight) -> No | None:
    qty = _sized(rules, it)
    if it.instrument is None or qty <= it.instrument.max_qty:
        return None
    return "too_large", f"{qty} is above {it.instrument.max_qty}"


def _step(rules: Rules, it: Sight) -> No | None:
    qty = _sized(rules, it)
    if it.instrument is None or not qty % it.instrument.lot_step:
        return None
    return "off_step", f"{qty} is no multiple of {it.instrument.lot_step}"


def _prices(order: Order) -> list[Decimal | None]:
    prices = []
    if order.ord_type in ("limit", "stop_limit"):
        prices.append(order.price)
    if order.ord_type in ("stop", "stop_limit"):
        prices.append(order.stop_px)
    return prices


def _price(_: Rules, it: Sight) -> No | None:
    bad = [price for price in _prices(it.order) if price is None or price <= 0]
    return ("bad_price", f"{bad[0]} is no price above 0") if bad else None


def _tick(_: Rules, it: Sight) -> No | None:
    for price in _prices(it.order):
        if it.instrument is None or price is None:
            continue
        tick = it.instrument.tick_at(price)
        if price % tick:
            return "off_tick", f"{price} is no positive multiple of {tick}"
    return None


def _trail(_: Rules, it: Sight) -> No | None:
    order = it.order
    trails = order.trail_amount is not None or order.trail_percent is not None
    if order.ord_type != "trailing_stop" or trails:
        return None
    return "no_trail", "a trailing stop needs a distance"


def _band(rules: Rules, it: Sight) -> No | None:
    price, seen = it.order.price, it.instrument
    if it.order.ord_type != "limit" or price is None or seen is None:
        return None
    low, high = seen.limit_down, seen.limit_up
    if (low is not None and price < low) or (high is not None and price > high):
        return "too_far", f"{price} is outside the limits, {low} to {high}"
    mark = seen.reference
    if rules.deviation is None or mark is None or abs(price - mark) <= rules.deviation * mark:
        return None
    return "too_far", f"{price} is too far from {mark}"


def _worth(rules: Rules, it: Sight) -> No | None:
    seen = it.instrument
    if seen is None or seen.last_price is None or (it.order.reduce_only and not rules.cuts):
        return None
    worth = it.qty * (it.order.price or seen.last_price) * seen.multiplier
    if worth >= seen.min_notional:
        return None
    return "too_cheap", f"worth {worth} {seen.currency}, the least is {seen.min_notional}"


def _reduce(rules: Rules, it: Sight) -> No | None:
    if not it.order.reduce_only:
        return None
    if (it.held < 0) if it.order.side == "buy" else (it.held > 0):
        return None if it.qty > 0 else ("nothing_held", "all of it is in other orders")
    if it.held:
        return "wrong_side", "reduce-only would increase the position"
    return "nothing_held", "empty position"


def _inventory(_: Rules, it: Sight) -> No | None:
    stock = it.instrument is not None and it.instrument.kind == "stock"
    if not stock or it.order.side == "buy" or it.held >= it.qty:
        return None
    return "not_held", f"{it.held} are held"


def _funds(_: Rules, it: Sight) -> No | None:
    missing = it.short()
    return None if missing is None else ("funds", missing)


def _count(rules: Rules, it: Sight) -> No | None:
    if rules.orders_most is None or takes(rules, it.order) or it.open_count < rules.orders_most:
        return None
    return "too_many", f"more than {rules.orders_most} open orders"


def _fok(_: Rules, it: Sight) -> No | None:
    if it.order.time_in_force != "fok" or it.fills_whole:
        return None
    return "unfilled", "a fill-or-kill order cannot be filled completely"


_CHECKS: Mapping[Check, Callable[[Rules, Sight], No | None]] = {
    "known": _known,
    "type": _type,
    "odd_type": _odd_type,
    "quoted": _quoted,
    "name": _name,
    "least": _least,
    "most": _most,
    "step": _step,
    "price": _price,
    "tick": _tick,
    "trail": _trail,
    "band": _band,
    "worth": _worth,
    "reduce": _reduce,
    "inventory": _inventory,
    "funds": _funds,
    "count": _count,
    "fok": _fok,
}
