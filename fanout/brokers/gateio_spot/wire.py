"""Gate.io spot on the wire, outward: orders and questions to requests. No I/O, no clock.

Amounts are decimal strings of the base asset, one lot of ours being one unit of it. The exception is
Gate's market order to buy, whose amount is in quote: it buys *more* than was asked for when the price
falls on the way, and its answers count in quote. It is therefore never sent: a market order to buy
becomes a limit order with the amount in base, at most `market_slip_bps` beyond the best ask, filled
at once or cancelled. It can buy neither more than was asked for nor dearer than that bound; where the
market has run away it buys less, and says so. A market order to sell is Gate's own.

What Gate has for each time in force (it has no sessions and no auctions):

    ord_type   day   gtc   ioc   fok   opg, cls
    market     ioc   ioc   ioc   fok   –
    limit      gtc   gtc   ioc   fok   –

A dash, and every ord_type not named, is Unsupported. `stp_act` is left out: it is refused for users
without an STP group. Fields as in gate-api 7.2.161 (Order, OrderPatch, CountdownCancelAllSpotTask).
Source: https://www.gate.com/docs/developers/apiv4, spot.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from fanout.brokers.gate.request import PAGE, PREFIX, Request, Unsupported, client_text
from fanout.order import Order, TimeInForce
from tenancy.values import plain

ACCOUNT = "spot"
SPOT = f"{PREFIX}/spot"

TIF: dict[str, dict[str, TimeInForce]] = {
    "market": {"day": "ioc", "gtc": "ioc", "ioc": "ioc", "fok": "fok"},
    "limit": {"day": "gtc", "gtc": "gtc", "ioc": "ioc", "fok": "fok"},
}


class _Place(msgspec.Struct, omit_defaults=True):
    text: str
    currency_pair: str
    account: str
    type: str
    side: str
    amount: str
    price: str = ""
    time_in_force: str = ""


class _Amend(msgspec.Struct, omit_defaults=True):
    currency_pair: str
    account: str
    amount: str = ""
    price: str = ""


class _Countdown(msgspec.Struct):
    timeout: int


class Sized(msgspec.Struct, frozen=True):
    """An order and what is sent of it: `amount` of base, and the price that bounds it, if any."""

    order: Order
    amount: Decimal
    price: Decimal | None


_encode = msgspec.json.Encoder().encode


def time_in_force(order: Order) -> TimeInForce:
    """Raises Unsupported where Gate has no such order."""
    tif = TIF.get(order.ord_type, {}).get(order.time_in_force)
    if tif is None:
        raise Unsupported(
            f"Gate spot has no {order.ord_type} order with time in force {order.time_in_force}"
        )
    return tif


def _placed(sized: Sized) -> _Place:
    return _Place(
        text=client_text(sized.order.cl_ord_id),
        currency_pair=sized.order.symbol,
        account=ACCOUNT,
        type="market" if sized.price is None else "limit",
        side=sized.order.side,
        amount=plain(sized.amount),
        price="" if sized.price is None else plain(sized.price),
        time_in_force=time_in_force(sized.order),
    )


def place(sized: Sized) -> Request:
    """POST of a new order. Raises Unsupported where Gate has no such order."""
    return Request("POST", f"{SPOT}/orders", "", _encode(_placed(sized)))


def place_batch(sized: Sequence[Sized]) -> Request:
    """POST of several, at most ten. Raises as place()."""
    return Request("POST", f"{SPOT}/batch_orders", "", _encode([_placed(one) for one in sized]))


def place_far_below(pair: str, amount: Decimal, price: Decimal, text: str) -> Request:
    """POST of a buy that rests or is refused (`poc`): it never trades at once."""
    body = _Place(
        text=text,
        currency_pair=pair,
        account=ACCOUNT,
        type="limit",
        side="buy",
        amount=plain(amount),
        price=plain(price),
        time_in_force="poc",
    )
    return Request("POST", f"{SPOT}/orders", "", _encode(body))


def one_order(method: str, pair: str, order_ref: str) -> Request:
    """GET or DELETE of one order by Gate's id, or by our text while it is open."""
    query = f"currency_pair={pair}&account={ACCOUNT}"
    return Request(method, f"{SPOT}/orders/{order_ref}", query)


def amend(pair: str, order_ref: str, amount: Decimal | None, price: Decimal | None) -> Request:
    """PATCH of what rests; `amount` is the whole of it, filled parts included."""
    body = _Amend(
        currency_pair=pair,
        account=ACCOUNT,
        amount="" if amount is None else plain(amount),
        price="" if price is None else plain(price),
    )
    return Request("PATCH", f"{SPOT}/orders/{order_ref}", "", _encode(body))


def cancel_all(pair: str | None) -> Request:
    named = f"&currency_pair={pair}" if pair is not None else ""
    return Request("DELETE", f"{SPOT}/orders", f"account={ACCOUNT}{named}")


def countdown(seconds: int) -> Request:
    return Request("POST", f"{SPOT}/countdown_cancel_all", "", _encode(_Countdown(seconds)))


def open_in(pair: str, page: int) -> Request:
    query = f"currency_pair={pair}&status=open&account={ACCOUNT}&page={page}&limit={PAGE}"
    return Request("GET", f"{SPOT}/orders", query)


def finished_in(pair: str, since_s: int, page: int) -> Request:
    """Those that ended since, newest first."""
    query = (
        f"currency_pair={pair}&status=finished&account={ACCOUNT}"
        f"&from={since_s}&page={page}&limit={PAGE}"
    )
    return Request("GET", f"{SPOT}/orders", query)


def open_everywhere(page: int) -> Request:
    """`page` counts within each pair; all pairs with open orders are answered."""
    return Request("GET", f"{SPOT}/open_orders", f"account={ACCOUNT}&page={page}&limit={PAGE}")


def my_trades(pair: str, since_s: int, page: int) -> Request:
    """The account's own fills in one pair since, newest first; Gate answers for seven days at most."""
    query = f"currency_pair={pair}&from={since_s}&page={page}&limit={PAGE}"
    return Request("GET", f"{SPOT}/my_trades", query)


def my_trades_between(since_s: int, until_s: int, page: int) -> Request:
    """The account's own fills in all pairs, Unix seconds, both included."""
    query = f"from={since_s}&to={until_s}&page={page}&limit={PAGE}"
    return Request("GET", f"{SPOT}/my_trades", query)


def balances() -> Request:
    return Request("GET", f"{SPOT}/accounts")


def pairs() -> Request:
    """Public: needs no signature."""
    return Request("GET", f"{SPOT}/currency_pairs")


def tickers() -> Request:
    """Public: last price and the best bid and ask of every pair."""
    return Request("GET", f"{SPOT}/tickers")
