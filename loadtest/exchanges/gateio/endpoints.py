"""Gate's paths: which call each is, whom it counts against, and what it answers.

Paths are matched on their segments after `/api/v4/`; `{}` stands for one segment. A handler gets
the call and returns status and JSON; the list is ENDPOINTS at the end, spot's is spot_endpoints.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from loadtest.exchanges.gateio import views
from loadtest.exchanges.gateio.exchange import Exchange
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.orders import Arrival, read_batch, read_order
from loadtest.exchanges.gateio.refusal import Refusal, invalid

PREFIX = "/api/v4/"


class Call(msgspec.Struct, kw_only=True):
    """A request that passed the gateway."""

    exchange: Exchange
    account: Account | None
    argument: str
    query: Mapping[str, str]
    body: bytes
    decimals: bool
    arrival: Arrival

    @property
    def user(self) -> Account:
        assert self.account is not None
        return self.account


Answered = tuple[int, Any]
Handler = Callable[[Call], Answered]


class Endpoint(msgspec.Struct, frozen=True):
    """`counts_as`: the rate limit's name; `public` ones need no signature."""

    method: str
    path: str
    counts_as: str
    handler: Handler
    public: bool = False


def _contracts(call: Call) -> Answered:
    books = call.exchange.books.values()
    return 200, [views.contract(book, decimals=call.decimals) for book in books]


def _contract(call: Call) -> Answered:
    return 200, views.contract(call.exchange.book(call.argument), decimals=call.decimals)


def _tickers(call: Call) -> Answered:
    name = call.query.get("contract")
    books = [call.exchange.book(name)] if name else call.exchange.books.values()
    return 200, [views.ticker(book, decimals=call.decimals) for book in books]


def _time(call: Call) -> Answered:
    return 200, {"server_time": int(call.exchange.now() * 1000)}


def _account(call: Call) -> Answered:
    _funded(call)
    return 200, views.account(call.user, call.exchange.marks)


def _positions(call: Call) -> Answered:
    _funded(call)
    marks = call.exchange.marks
    holding = call.query.get("holding") == "true"
    shown = [
        views.position(position, call.user, marks[name], decimals=call.decimals)
        for name, position in call.user.positions.items()
        if position.size or not holding
    ]
    return 200, page_of(call, shown)


def _position(call: Call) -> Answered:
    _funded(call)
    mark = call.exchange.book(call.argument).mark
    position = call.user.positions.get(call.argument)
    if position is None:
        raise Refusal("POSITION_NOT_FOUND", "position not found")
    return 200, views.position(position, call.user, mark, decimals=call.decimals)


def _place(call: Call) -> Answered:
    order = call.exchange.place(call.user, read_order(call.body), call.arrival)
    return 201, views.order(order, decimals=call.decimals)


def _place_batch(call: Call) -> Answered:
    answers = []
    for wanted in read_batch(call.body):
        try:
            order = call.exchange.place(call.user, wanted, call.arrival)
            answers.append({"succeeded": True, **views.order(order, decimals=call.decimals)})
        except Refusal as refusal:
            call.exchange.refused[refusal.label] += 1
            answers.append(
                {
                    "succeeded": False,
                    "label": refusal.label,
                    "detail": refusal.message,
                    "contract": wanted.contract,
                    "text": wanted.text,
                }
            )
    return 200, answers


def _list_orders(call: Call) -> Answered:
    status = call.query.get("status")
    if status is None:
        raise Refusal("MISSING_REQUIRED_PARAM", "Missing required parameter: status")
    orders = call.exchange.list_orders(call.user, status, call.query.get("contract"))
    return 200, [views.order(order, decimals=call.decimals) for order in page_of(call, orders)]


def _find(call: Call) -> Answered:
    order = call.exchange.find(call.user, call.argument)
    return 200, views.order(order, decimals=call.decimals)


def _cancel(call: Call) -> Answered:
    order = call.exchange.cancel(call.user, call.argument)
    return 200, views.order(order, decimals=call.decimals)


def _cancel_all(call: Call) -> Answered:
    query = call.query
    orders = call.exchange.cancel_all(call.user, query.get("contract"), query.get("side"))
    return 200, [views.order(order, decimals=call.decimals) for order in orders]


def _my_trades(call: Call) -> Answered:
    _funded(call)
    contract, order_id = call.query.get("contract"), call.query.get("order")
    if contract is not None:
        call.exchange.book(contract)
    trades = [
        trade
        for trade in reversed(call.user.trades)
        if contract in (None, trade.contract) and order_id in (None, str(trade.order_id))
    ]
    return 200, [views.trade(trade, decimals=call.decimals) for trade in page_of(call, trades)]


def _my_trades_between(call: Call) -> Answered:
    """`from` and `to`: Unix seconds, both included; as `my_trades`, with the trade's id under its other name."""
    _funded(call)
    contract = call.query.get("contract")
    since, until = _seconds(call, "from", 0), _seconds(call, "to", 2**40)
    trades = [
        trade
        for trade in reversed(call.user.trades)
        if contract in (None, trade.contract) and since <= trade.create_time <= until
    ]
    shown = [views.trade(trade, decimals=call.decimals) for trade in page_of(call, trades)]
    return 200, [{"trade_id": str(one.pop("id")), **one} for one in shown]


def _seconds(call: Call, name: str, default: int) -> int:
    text = call.query.get(name, str(default))
    if not (text.isascii() and text.isdigit()):
        raise invalid(name, text)
    return int(text)


def _account_detail(call: Call) -> Answered:
    return 200, views.account_detail(call.user)


def _main_keys(call: Call) -> Answered:
    if call.user.listed == "forbidden":
        raise Refusal("FORBIDDEN", "the key may not read the account")
    return 200, views.main_keys(call.user)


def _funded(call: Call) -> None:
    call.exchange.funded(call.user)


def page_of(call: Call, rows: list[Any]) -> list[Any]:
    bounds = []
    for name, default, lowest, highest in (("limit", 100, 1, 1000), ("offset", 0, 0, 1_000_000)):
        text = call.query.get(name, str(default))
        if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
            raise invalid(name, text)
        bounds.append(int(text))
    limit, offset = bounds
    return rows[offset : offset + limit]


ENDPOINTS = (
    Endpoint("POST", "futures/usdt/orders", "orders", _place),
    Endpoint("GET", "futures/usdt/orders/{}", "order", _find),
    Endpoint("DELETE", "futures/usdt/orders/{}", "cancels", _cancel),
    Endpoint("POST", "futures/usdt/batch_orders", "orders", _place_batch),
    Endpoint("GET", "futures/usdt/orders", "list_orders", _list_orders),
    Endpoint("DELETE", "futures/usdt/orders", "cancels", _cancel_all),
    Endpoint("GET", "futures/usdt/my_trades", "my_trades", _my_trades),
    Endpoint("GET", "futures/usdt/my_trades_timerange", "my_trades", _my_trades_between),
    Endpoint("GET", "futures/usdt/positions", "positions", _positions),
    Endpoint("GET", "futures/usdt/positions/{}", "position", _position),
    Endpoint("GET", "futures/usdt/accounts", "accounts", _account),
    Endpoint("GET", "account/detail", "account_detail", _account_detail),
    Endpoint("GET", "account/main_keys", "main_keys", _main_keys),
    Endpoint("GET", "futures/usdt/contracts", "contracts", _contracts, public=True),
    Endpoint("GET", "futures/usdt/contracts/{}", "contract", _contract, public=True),
    Endpoint("GET", "futures/usdt/tickers", "tickers", _tickers, public=True),
    Endpoint("GET", "spot/time", "time", _time, public=True),
)
