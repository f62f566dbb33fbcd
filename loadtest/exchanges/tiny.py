"""A tiny exchange that nobody runs: what the adapter fanout/brokers/template/ trades on. Its documentation:

Private requests carry X-Key, X-Time (Unix s, within 60), X-Expires (Unix ms or empty) and X-Sign =
hex(HMAC-SHA256(secret, METHOD\\nPATH\\nX-Expires\\nhex(SHA-256(body))\\nX-Time)). Every answer says the
exchange's clock in X-Now (Unix ms). Errors are `{"code", "text"}`.

    POST   /v1/orders         {"id", "symbol", "side", "qty", "tif": gtc|ioc|fok, "price"?, "reduce_only"?};
                              no price: a market order. 200 with the order. Not taken after X-Expires: 400 expired
    GET    /v1/orders/{id}    by the account's own id, unique for ever; 404 unknown_order
    DELETE /v1/orders/{id}    200 with the order; 409 final; 404 unknown_order
    GET    /v1/orders         what is open
    GET    /v1/positions      [{"symbol", "qty" (signed), "average"}]
    GET    /v1/account        {"equity", "available", "currency"}; margin is a tenth
    GET    /v1/key            {"user", "scopes"}
    GET    /v1/instruments    public

Everybody trades with the house, at the price, in any quantity. `next_order` spoils the next order once:
lost_before, lost_after (the connection is cut), busy (429), server_error (500, taken), garbled (200, taken).
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import orjson
from aiohttp import web

SYMBOL, CURRENCY = "ACME", "USD"
STEP, LEAST, MOST, TICK = Decimal(1), Decimal(2), Decimal(100_000), Decimal("0.05")
MARGIN = 10
TOLERANCE_S = 60
FINAL = ("filled", "canceled")

Spoilt = Literal["lost_before", "lost_after", "busy", "server_error", "garbled"]


class Refused(Exception):
    """No, with a code."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code = status, code


@dataclass
class Order:
    id: str
    number: int
    side: str
    qty: Decimal
    price: Decimal | None
    reduce_only: bool
    state: str = "open"
    filled: Decimal = Decimal(0)
    average: Decimal | None = None
    at_ms: int = 0

    @property
    def sign(self) -> int:
        return 1 if self.side == "buy" else -1

    def view(self) -> dict[str, Any]:
        average = None if self.average is None else str(self.average)
        return {"id": self.id, "number": self.number, "state": self.state, "at_ms": self.at_ms,
                "filled": str(self.filled), "average": average}  # fmt: skip


@dataclass
class Account:
    secret: bytes
    cash: Decimal
    scopes: tuple[str, ...] = ("trade", "read")
    qty: Decimal = Decimal(0)
    average: Decimal = Decimal(0)
    orders: dict[str, Order] = field(default_factory=dict)

    def open(self) -> list[Order]:
        return [order for order in self.orders.values() if order.state == "open"]

    def fill(self, order: Order, qty: Decimal, price: Decimal) -> None:
        after = self.qty + order.sign * qty
        grows = self.qty * order.sign >= 0
        if not grows:
            closed = min(qty, abs(self.qty))
            self.cash += closed * (price - self.average) * (1 if self.qty > 0 else -1)
        if grows:
            self.average = (abs(self.qty) * self.average + qty * price) / abs(after)
        elif after * self.qty < 0:
            self.average = price
        self.qty, order.filled, order.average = after, qty, price
        order.state, order.at_ms = "filled", now_ms()

    def equity(self, price: Decimal) -> Decimal:
        return self.cash + self.qty * (price - self.average)

    def needs(self, price: Decimal, more: Order | None = None) -> Decimal:
        """The margin of the position and of what would grow it."""
        orders = [one for one in (*self.open(), *([more] if more else [])) if not one.reduce_only]
        long = self.qty + sum((one.qty for one in orders if one.sign > 0), Decimal(0))
        short = self.qty - sum((one.qty for one in orders if one.sign < 0), Decimal(0))
        return max(abs(long), abs(short), abs(self.qty)) * price / MARGIN


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class TinyExchange:
    """One instrument, accounts by key, and a port of its own."""

    def __init__(self) -> None:
        self.price = Decimal(100)
        self.accounts: dict[str, Account] = {}
        self.next_order: Spoilt | None = None
        self._numbers = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen on a free port of loopback; returns the URL."""
        app = web.Application()
        app.router.add_route("*", "/v1/{what}{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def set_price(self, price: Decimal) -> None:
        """What rests and is reached fills at its own price."""
        self.price = price
        for account in self.accounts.values():
            for order in account.open():
                if self._reached(order):
                    account.fill(order, order.qty, order.price or price)

    def _reached(self, order: Order) -> bool:
        return order.price is None or order.sign * (order.price - self.price) >= 0

    # -------------------------------------------------------------- HTTP

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        spoilt: Spoilt | None = None
        if (request.method, request.path) == ("POST", "/v1/orders"):
            spoilt, self.next_order = self.next_order, None
        if spoilt == "lost_before":
            return _cut(request)
        if spoilt == "busy":
            return _answer(429, {"code": "busy", "text": "too many"}, {"Retry-After": "0.2"})
        try:
            answer = _answer(200, self._do(request, body))
        except Refused as why:
            return _answer(why.status, {"code": why.code, "text": str(why)})
        if spoilt == "lost_after":
            return _cut(request)
        if spoilt == "server_error":
            return _answer(500, {"code": "internal", "text": "oops"})
        return _answer(200, {"id": "?"}) if spoilt == "garbled" else answer

    def _do(self, request: web.Request, body: bytes) -> Any:
        what, id = request.match_info["what"], request.match_info["tail"].lstrip("/")
        if what == "instruments":
            return [self._instrument()]
        key = request.headers.get("X-Key", "")
        account = self._authentic(key, request, body)
        match (request.method, what, bool(id)):
            case ("POST", "orders", False):
                return self._place(account, body, request.headers["X-Expires"]).view()
            case ("GET", "orders", True):
                return self._order(account, id).view()
            case ("DELETE", "orders", True):
                return self._cancel(account, id).view()
            case ("GET", "orders", False):
                return [order.view() for order in account.open()]
            case ("GET", "positions", False):
                row = {"symbol": SYMBOL, "qty": str(account.qty), "average": str(account.average)}
                return [row] if account.qty else []
            case ("GET", "account", False):
                equity = account.equity(self.price)
                available = equity - account.needs(self.price)
                return {"equity": str(equity), "available": str(available), "currency": CURRENCY}
            case ("GET", "key", False):
                return {"user": key, "scopes": account.scopes}
        raise Refused(404, "no_such_path", request.path)

    def _authentic(self, key: str, request: web.Request, body: bytes) -> Account:
        account, said = self.accounts.get(key), request.headers
        if account is None:
            raise Refused(401, "bad_key", "no such key")
        timestamp, expires = said.get("X-Time", ""), said.get("X-Expires", "")
        digest = hashlib.sha256(body).hexdigest()
        text = "\n".join((request.method, request.path, expires, digest, timestamp))
        wanted = hmac.new(account.secret, text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(wanted, said.get("X-Sign", "")):
            raise Refused(401, "bad_sign", "the signature is wrong")
        if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_S:
            raise Refused(401, "bad_time", "X-Time is too far from our clock")
        return account

    # -------------------------------------------------------------- trading

    def _place(self, account: Account, body: bytes, expires: str) -> Order:
        if not expires.isdigit() or now_ms() > int(expires):
            raise Refused(400, "expired", f"it is {now_ms()}, it was good until {expires}")
        if "trade" not in account.scopes:
            raise Refused(403, "no_permission", "this key cannot trade")
        asked = orjson.loads(body)
        order, tif = self._readable(asked), asked["tif"]
        if asked["id"] in account.orders:
            raise Refused(409, "duplicate_id", f"there is an order {asked['id']}")
        qty = order.qty
        if order.reduce_only:
            qty = min(qty, max(Decimal(0), -order.sign * account.qty))
            if not qty:
                raise Refused(400, "nothing_to_reduce", "there is no position to reduce")
        elif account.needs(self.price, order) > account.equity(self.price):
            raise Refused(400, "no_funds", "not enough margin")
        account.orders[order.id] = order
        if self._reached(order):
            account.fill(order, qty, self.price)
        elif tif in ("ioc", "fok"):
            order.state = "canceled"
        return order

    def _readable(self, asked: dict[str, Any]) -> Order:
        if asked["symbol"] != SYMBOL:
            raise Refused(400, "unknown_symbol", f"{asked['symbol']} is not traded here")
        qty, price = _number(asked["qty"], "qty"), asked.get("price")
        if not LEAST <= qty <= MOST or qty % STEP:
            raise Refused(400, "bad_qty", f"qty is {LEAST} to {MOST} in steps of {STEP}")
        limit = None if price is None else _number(price, "price")
        if limit is not None and (limit <= 0 or limit % TICK):
            raise Refused(400, "bad_price", f"a price is above 0, in steps of {TICK}")
        self._numbers += 1
        return Order(asked["id"], self._numbers, asked["side"], qty, limit,
                     asked.get("reduce_only", False), at_ms=now_ms())  # fmt: skip

    def _order(self, account: Account, id: str) -> Order:
        if id not in account.orders:
            raise Refused(404, "unknown_order", f"there is no order {id}")
        return account.orders[id]

    def _cancel(self, account: Account, id: str) -> Order:
        order = self._order(account, id)
        if order.state in FINAL:
            raise Refused(409, "final", f"{id} is {order.state}")
        order.state, order.at_ms = "canceled", now_ms()
        return order

    def _instrument(self) -> dict[str, str]:
        spread = self.price / 10_000
        return {
            "symbol": SYMBOL, "multiplier": "1", "step": str(STEP), "least": str(LEAST),
            "most": str(MOST), "tick": str(TICK), "currency": CURRENCY, "last": str(self.price),
            "bid": str(self.price - spread), "ask": str(self.price + spread),
        }  # fmt: skip


def _number(said: str, name: str) -> Decimal:
    try:
        number = Decimal(said)
    except InvalidOperation:
        raise Refused(400, f"bad_{name}", f"{name} is no number") from None
    if not number.is_finite():
        raise Refused(400, f"bad_{name}", f"{name} is no number")
    return number


def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response(status=500)


def _answer(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
    said = {"X-Now": str(now_ms()), "Content-Type": "application/json"} | (headers or {})
    return web.Response(status=status, body=orjson.dumps(body), headers=said)
