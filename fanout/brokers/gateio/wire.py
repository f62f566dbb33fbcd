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

import hashlib
import hmac
from decimal import Decimal

import msgspec

from fanout.order import Order, TimeInForce
from fanout.ports import Instrument
from tenancy.errors import Invalid
from tenancy.values import plain

SCHEME = "gateio"
PREFIX = "/api/v4"
PAGE = 100  # Gate's default page; every version of the API honours it
EMPTY_SHA512 = hashlib.sha512(b"").hexdigest()

TIF: dict[str, dict[str, TimeInForce]] = {
    "market": {"day": "ioc", "gtc": "ioc", "ioc": "ioc"},
    "limit": {"day": "gtc", "gtc": "gtc", "ioc": "ioc", "fok": "fok"},
}


class Unsupported(Invalid):
    """Gate has no such order: says which part, so that the plan can be changed."""

    code = "unsupported_order"


class Request(msgspec.Struct, frozen=True):
    """One HTTP request, exactly as it is signed. `query` is un-escaped, in URL order."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


class _Place(msgspec.Struct, omit_defaults=True):
    contract: str
    size: str
    price: str
    tif: str
    text: str
    reduce_only: bool = False


_encode = msgspec.json.Encoder().encode


def client_text(cl_ord_id: str) -> str:
    """The `text` field: at most 28 of [0-9A-Za-z_.-] after `t-`."""
    return f"t-{cl_ord_id}"


def place(settle: str, order: Order) -> Request:
    """POST of a new order. Raises Unsupported where Gate has no such order."""
    tif = TIF.get(order.ord_type, {}).get(order.time_in_force)
    if tif is None:
        raise Unsupported(
            f"Gate futures have no {order.ord_type} order with time in force {order.time_in_force}"
        )
    body = _Place(
        contract=order.symbol,
        size=signed_size(order),
        price="0" if order.ord_type == "market" else _limit_price(order),
        tif=tif,
        text=client_text(order.cl_ord_id),
        reduce_only=order.reduce_only,
    )
    return Request("POST", f"{PREFIX}/futures/{settle}/orders", "", _encode(body))


def signed_size(order: Order) -> str:
    """Contracts, negative to sell. Raises Unsupported for parts of a contract."""
    qty = order.order_qty
    if qty <= 0 or qty != qty.to_integral_value():
        raise Unsupported(f"order_qty must be whole contracts above 0, got {qty}")
    return plain(qty if order.side == "buy" else -qty)


def _limit_price(order: Order) -> str:
    if order.price is None or order.price <= 0:
        raise Unsupported(f"a limit order needs a price above 0, got {order.price}")
    return plain(order.price)  # "0" would make it a market order


def one_order(settle: str, method: str, order_ref: str) -> Request:
    """GET or DELETE of one order by Gate's id or by our text."""
    return Request(method, f"{PREFIX}/futures/{settle}/orders/{order_ref}")


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


def list_positions(settle: str) -> Request:
    return Request("GET", f"{PREFIX}/futures/{settle}/positions", "holding=true")


def account(settle: str) -> Request:
    return Request("GET", f"{PREFIX}/futures/{settle}/accounts")


def account_detail() -> Request:
    """Whose key it is, and in which mode the account is."""
    return Request("GET", f"{PREFIX}/account/detail")


def main_keys() -> Request:
    """What the key may do."""
    return Request("GET", f"{PREFIX}/account/main_keys")


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


def server_time() -> Request:
    """Public, small, and counted apart from trading."""
    return Request("GET", f"{PREFIX}/spot/time")


def contracts(settle: str) -> Request:
    """Public: needs no signature."""
    return Request("GET", f"{PREFIX}/futures/{settle}/contracts")


def tickers(settle: str) -> Request:
    """Public: the best bid and ask of every contract."""
    return Request("GET", f"{PREFIX}/futures/{settle}/tickers")


def signing_text(request: Request, timestamp: int) -> bytes:
    """What Gate's APIv4 scheme signs with HMAC-SHA512. The signer builds the same from its parts."""
    body_hash = hashlib.sha512(request.body).hexdigest() if request.body else EMPTY_SHA512
    parts = (request.method, request.path, request.query, body_hash, str(timestamp))
    return "\n".join(parts).encode()


def signature(secret: bytes, request: Request, timestamp: int) -> str:
    """For tests and simulators, where the secret is no secret. Production asks the signer."""
    return hmac.new(secret, signing_text(request, timestamp), hashlib.sha512).hexdigest()
