"""How much of an order is sent, and at which price it is bounded. Pure.

Spot has no positions to reduce and nothing is lent to us, so Gate never lets a sell turn anything
round: what is sold is there. `reduce_only` is kept by cutting a sell to what is available, in whole
steps; less than Gate takes is refused here. A buy that is to reduce has nothing to reduce.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

from fanout.brokers.gate.request import Unsupported
from fanout.brokers.gateio_spot.answers import on_step
from fanout.brokers.gateio_spot.wire import Sized, time_in_force
from fanout.order import Order
from fanout.ports import Instrument, Rejected, RejectKind


def must_know_balance(order: Order) -> bool:
    return order.reduce_only and order.side == "sell"


def sized(
    order: Order, pair: Instrument | None, available: Decimal | None, slip: Decimal
) -> Sized | Rejected:
    """What is sent, or why nothing is. `available`: of the base asset, where must_know_balance.

    Raises Unsupported where Gate has no such order.
    """
    time_in_force(order)
    if pair is None:
        return _no("pair_not_traded", "instrument", f"{order.symbol} is not traded here")
    amount = order.order_qty
    if order.reduce_only:
        if order.side == "buy":
            return _no("nothing_to_reduce", "risk", "spot has no short positions to reduce")
        amount = on_step(min(amount, available or Decimal(0)), pair.lot_step)
        if amount <= 0:
            base = order.symbol.rpartition("_")[0]
            return _no("nothing_to_reduce", "risk", f"{available} {base} are available to sell")
    price = _bound(order, pair, slip)
    if isinstance(price, Rejected):
        return price
    return _wrong_size(amount, price, pair) or Sized(order, amount, price)


def _bound(order: Order, pair: Instrument, slip: Decimal) -> Decimal | Rejected | None:
    if order.ord_type == "limit":
        if order.price is None or order.price <= 0:
            raise Unsupported(f"a limit order needs a price above 0, got {order.price}")
        return order.price
    if order.side == "sell":
        return None
    market = pair.ask if pair.ask is not None else pair.last_price
    if market is None:
        return _no("no_price", "price", f"{pair.symbol} has no price to bound a market order by")
    return (market * (1 + slip) / pair.tick).to_integral_value(ROUND_FLOOR) * pair.tick


def _wrong_size(amount: Decimal, price: Decimal | None, pair: Instrument) -> Rejected | None:
    if amount % pair.lot_step:
        return _no("off_step", "size", f"{amount} is no multiple of {pair.lot_step}")
    if amount < pair.min_qty:
        return _no("below_minimum", "size", f"{amount} is less than {pair.min_qty}")
    if amount > pair.max_qty:
        return _no("above_maximum", "size", f"{amount} is more than {pair.max_qty}")
    if price is not None and amount * price < pair.min_notional:
        worth = f"{amount * price} {pair.currency}"
        return _no("below_minimum", "size", f"worth {worth}, less than {pair.min_notional}")
    return None


def _no(code: str, kind: RejectKind, text: str) -> Rejected:
    return Rejected(code=code, kind=kind, text=f"not sent: {text}", left=False)
