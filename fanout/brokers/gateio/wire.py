"""Gate.io futures on the wire, outward: orders and questions to requests. No I/O, no clock.

Sizes are signed whole contracts in a string, price `"0"` with `ioc` is a market order, `text` is
`t-` and our ClOrdID (gate-api 7.2.161, FuturesOrder). The bytes built here are the bytes that are
signed and sent: nothing encodes them again.

What Gate has for each time in force (it has no sessions and no auctions):

    ord_type   day   gtc   ioc   fok   opg, cls
    market     ioc   ioc   ioc   –     –
    limit      gtc   gtc   ioc   fok   –

A dash, and every ord_type not named, is Unsupported: refused here, never sent as something near it. A `day`
limit order rests until it is cancelled: Gate's day has no end.

What the answers mean is answers.py. Source: https://www.gate.com/docs/developers/apiv4, futures.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from fanout.brokers.gate.request import PAGE as PAGE
from fanout.brokers.gate.request import PREFIX as PREFIX
from fanout.brokers.gate.request import BadPrice, BadSize
from fanout.brokers.gate.request import Request as Request
from fanout.brokers.gate.request import Unsupported as Unsupported
from fanout.brokers.gate.request import account_detail as account_detail
from fanout.brokers.gate.request import client_text as client_text
from fanout.brokers.gate.request import main_keys as main_keys
from fanout.brokers.gate.request import server_time as server_time
from fanout.brokers.gate.request import signature as signature
from fanout.brokers.gate.request import signing_text as signing_text
from fanout.order import Order, TimeInForce
from fanout.ports import Instrument
from tenancy.values import plain

TIF: dict[str, dict[str, TimeInForce]] = {
    "market": {"day": "ioc", "gtc": "ioc", "ioc": "ioc"},
    "limit": {"day": "gtc", "gtc": "gtc", "ioc": "ioc", "fok": "fok"},
}


class _Place(msgspec.Struct, omit_defaults=True):
    contract: str
    size: str
    price: str
    tif: str
    text: str
    reduce_only: bool = False


class _Amend(msgspec.Struct, omit_defaults=True):
    size: str | None = None
    price: str | None = None


BATCH_MAX = 10
"""Orders in one POST; each counts for itself in Gate's rate limit."""
CANCEL_BATCH_MAX = 20
COUNTDOWN_LEAST_S = 5

_encode = msgspec.json.Encoder().encode


def place(settle: str, order: Order) -> Request:
    """POST of a new order. Raises Unsupported where Gate has no such order."""
    return Request("POST", f"{PREFIX}/futures/{settle}/orders", "", _encode(_placing(order)))


def place_batch(settle: str, orders: Sequence[Order]) -> Request:
    """POST of several new orders. Raises Unsupported where Gate has not one of them.

    Gate refuses all of them where one is malformed, and judges each by itself after that.
    """
    body = _encode([_placing(order) for order in orders])
    return Request("POST", f"{PREFIX}/futures/{settle}/batch_orders", "", body)


def _placing(order: Order) -> _Place:
    tif = TIF.get(order.ord_type, {}).get(order.time_in_force)
    if tif is None:
        raise Unsupported(
            f"Gate futures have no {order.ord_type} order with time in force {order.time_in_force}"
        )
    return _Place(
        contract=order.symbol,
        size=signed_size(order),
        price="0" if order.ord_type == "market" else _limit_price(order),
        tif=tif,
        text=client_text(order.cl_ord_id),
        reduce_only=order.reduce_only,
    )


def amend(
    settle: str, order: Order, *, order_qty: Decimal | None, price: Decimal | None
) -> Request:
    """PUT of a new size (filled contracts included) or price. Raises Unsupported."""
    if order.ord_type != "limit" or (order_qty is None and price is None):
        raise Unsupported("only size or price of a limit order can be changed")
    after = amended(order, order_qty=order_qty, price=price)
    body = _Amend(
        size=None if order_qty is None else signed_size(after),
        price=None if price is None else _limit_price(after),
    )
    path = f"{PREFIX}/futures/{settle}/orders/{order_ref(order)}"
    return Request("PUT", path, "", _encode(body))


def amended(order: Order, *, order_qty: Decimal | None, price: Decimal | None) -> Order:
    """The order as it is to stand."""
    return msgspec.structs.replace(
        order,
        order_qty=order.order_qty if order_qty is None else order_qty,
        price=order.price if price is None else price,
    )


def order_ref(order: Order) -> str:
    """Gate's own id once we know it, else our text."""
    return order.broker_order_id or client_text(order.cl_ord_id)


def signed_size(order: Order) -> str:
    """Contracts, negative to sell. Raises Unsupported for parts of a contract."""
    qty = order.order_qty
    if qty <= 0 or qty != qty.to_integral_value():
        raise BadSize(f"order_qty must be whole contracts above 0, got {qty}")
    return plain(qty if order.side == "buy" else -qty)


def _limit_price(order: Order) -> str:
    if order.price is None or order.price <= 0:
        raise BadPrice(f"a limit order needs a price above 0, got {order.price}")
    return plain(order.price)  # "0" would make it a market order


def one_order(settle: str, method: str, order_ref: str) -> Request:
    """GET or DELETE of one order by Gate's id or by our text."""
    return Request(method, f"{PREFIX}/futures/{settle}/orders/{order_ref}")


def cancel_all(settle: str, contract: str | None) -> Request:
    """DELETE of all open orders, in one contract or in all. Price-triggered ones stay."""
    query = f"contract={contract}" if contract else ""
    return Request("DELETE", f"{PREFIX}/futures/{settle}/orders", query)


def cancel_batch(settle: str, ids: Sequence[str]) -> Request:
    """Cancel up to CANCEL_BATCH_MAX orders by Gate's ids."""
    path = f"{PREFIX}/futures/{settle}/batch_cancel_orders"
    return Request("POST", path, "", _encode(list(ids)))


def countdown(settle: str, seconds: int) -> Request:
    """Have all open orders cancelled in so many seconds (≥ COUNTDOWN_LEAST_S); 0 calls it off."""
    path = f"{PREFIX}/futures/{settle}/countdown_cancel_all"
    return Request("POST", path, "", _encode({"timeout": seconds}))


def list_open(settle: str, offset: int) -> Request:
    query = f"status=open&limit={PAGE}&offset={offset}"
    return Request("GET", f"{PREFIX}/futures/{settle}/orders", query)


def my_trades(settle: str, contract: str, offset: int) -> Request:
    """The account's own fills in one contract, newest first."""
    query = f"contract={contract}&limit={PAGE}&offset={offset}"
    return Request("GET", f"{PREFIX}/futures/{settle}/my_trades", query)


def my_trades_between(settle: str, since_s: int, until_s: int, offset: int) -> Request:
    """The account's own fills in all contracts, from `since_s` to `until_s`, Unix seconds, both included."""
    query = f"from={since_s}&to={until_s}&limit={PAGE}&offset={offset}"
    return Request("GET", f"{PREFIX}/futures/{settle}/my_trades_timerange", query)


def place_far_below(settle: str, contract: Instrument, price: Decimal, text: str) -> Request:
    """POST of the smallest buy, post-only (`poc`): it rests or is refused, it never trades at once."""
    body = _Place(
        contract=contract.symbol,
        size=plain(contract.min_qty),
        price=plain(price),
        tif="poc",
        text=text,
    )
    return Request("POST", f"{PREFIX}/futures/{settle}/orders", "", _encode(body))


def contracts(settle: str) -> Request:
    """Public: needs no signature."""
    return Request("GET", f"{PREFIX}/futures/{settle}/contracts")


def tickers(settle: str) -> Request:
    """Public: the best bid and ask of every contract."""
    return Request("GET", f"{PREFIX}/futures/{settle}/tickers")
