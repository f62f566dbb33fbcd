"""What an order must be before the SDK sees it, which takes -1 lots, a price of NaN, MKT with ROD. Pure.

| ours | SinoPac's |
| --- | --- |
| market, ioc or fok | MKT; never with ROD |
| limit, day | LMT ROD: rest of the day. There is nothing that lives longer: gtc is sent as day |
| limit, ioc or fok | LMT |
| odd lots | LMT ROD alone |
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from fanout.brokers.shioaji.contracts import Contract
from fanout.order import Order, TimeInForce
from fanout.ports import Rejected, RejectKind

TIF: Final[Mapping[str, Mapping[str, TimeInForce]]] = {
    "market": {"day": "ioc", "gtc": "ioc", "ioc": "ioc", "fok": "fok"},
    "limit": {"day": "day", "gtc": "day", "ioc": "ioc", "fok": "fok"},
}
ROD: Final = {"day": "ROD", "ioc": "IOC", "fok": "FOK"}


def refusal(order: Order, contract: Contract | None) -> Rejected | None:
    """Why it is not handed to the SDK, in words; None: it may be."""
    sent = TIF.get(order.ord_type, {}).get(order.time_in_force)
    if sent is None:
        words = f"{order.ord_type} {order.time_in_force} is not spoken at SinoPac"
        return _no("unsupported_order", "other", words)
    if contract is None:
        return _no("unknown_contract", "instrument", f"{order.symbol!r} is not traded here")
    return _tif(contract, order.ord_type, sent) or _size(order, contract) or _price(order, contract)


def _tif(contract: Contract, ord_type: str, sent: TimeInForce) -> Rejected | None:
    if contract.odd and (ord_type, sent) != ("limit", "day"):
        return _no("unsupported_order", "other", "an odd lot is a limit order for the day")
    return None


def _size(order: Order, contract: Contract) -> Rejected | None:
    qty, step = order.order_qty, contract.lot_step
    if not qty.is_finite() or qty <= 0 or qty % step:
        words = f"{qty} of {order.symbol}: a multiple of {step} is needed, greater than 0"
        return _no("quantity", "size", words)
    if qty > contract.most:
        return _no("quantity", "size", f"{qty} of {order.symbol}: at most {contract.most}")
    return None


def _price(order: Order, contract: Contract) -> Rejected | None:
    if order.ord_type == "market":
        return None
    price = order.price
    if price is None or not price.is_finite() or price <= 0:
        return _no("price", "price", f"a limit order needs a price above 0, got {price}")
    step = contract.tick_at(price)
    if price % step:
        return _no("price_step", "price", f"{price}: at this price the step is {step}")
    low, high = contract.limit_down, contract.limit_up
    if (low is not None and price < low) or (high is not None and price > high):
        return _no("price_limit", "price", f"{price} is outside today's limits, {low} to {high}")
    return None


def _no(code: str, kind: RejectKind, words: str) -> Rejected:
    return Rejected(code=code, kind=kind, text=f"not sent: {words}", left=False)


def reducible(order: Order, held: Decimal) -> Decimal | Rejected:
    """How much of a reduce-only order reduces what is `held` (signed); Rejected where nothing does."""
    against = -held if order.side == "buy" else held
    if against <= 0:
        return _no("reduce_only", "risk", f"{order.symbol}: there is nothing to reduce ({held})")
    return min(order.order_qty, against)
