"""Orders and fills: place, amend, cancel, alone and in batches; look-ups; the countdown."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from loadtest.exchanges.gateio import views
from loadtest.exchanges.gateio.amending import amend, read_amendment, read_amendments
from loadtest.exchanges.gateio.call import Answered, Call, Endpoint
from loadtest.exchanges.gateio.orders import Order, read_batch, read_order, unreadable
from loadtest.exchanges.gateio.refusal import Refusal
from loadtest.exchanges.gateio.views import Json

CANCELS_MAX = 20


def shown(call: Call, orders: list[Order]) -> list[Json]:
    return [views.order(order, decimals=call.decimals) for order in orders]


def _place(call: Call) -> Answered:
    order = call.exchange.place(call.user, read_order(call.body, call.source), call.arrival)
    return 201, views.order(order, decimals=call.decimals)


def _place_batch(call: Call) -> Answered:
    return 200, [
        tried(
            call,
            partial(call.exchange.place, call.user, wanted, call.arrival),
            {"contract": wanted.contract, "text": wanted.text},
        )
        for wanted in read_batch(call.body, call.source)
    ]


def tried(call: Call, act: Callable[[], Order], named: Json) -> Json:
    """One element of a batch: the order, or the label and `named`."""
    try:
        return {"succeeded": True, **views.order(act(), decimals=call.decimals)}
    except Refusal as refusal:
        call.exchange.refused[refusal.label] += 1
        said = {"label": refusal.label, "detail": refusal.message}
        return {"succeeded": False, **said, **named}


def _list(call: Call) -> Answered:
    status = call.needed("status")
    orders = call.exchange.list_orders(call.user, status, call.query.get("contract"))
    last_id = call.query.get("last_id")
    if last_id:
        before = call.whole("last_id", 0)
        orders = [order for order in orders if order.id < before]
    return 200, shown(call, call.page(orders))


def _between(call: Call) -> Answered:
    """Ended and open ones, by when they were made."""
    user, contract = call.funded(), call.contract()
    orders = [o for o in reversed(user.orders) if contract in (None, o.contract)]
    orders = call.page(call.between(orders, lambda order: order.create_time))
    return 200, shown(call, orders)


def _find(call: Call) -> Answered:
    order = call.exchange.find(call.user, call.argument)
    return 200, views.order(order, decimals=call.decimals)


def _amend(call: Call) -> Answered:
    order = amend(call.exchange, call.user, call.argument, read_amendment(call.body))
    return 200, views.order(order, decimals=call.decimals)


def _amend_batch(call: Call) -> Answered:
    return 200, [
        tried(
            call,
            partial(amend, call.exchange, call.user, wanted.ident, wanted),
            {"text": wanted.text or "", "id": int(wanted.order_id or 0)},
        )
        for wanted in read_amendments(call.body)
    ]


def _cancel(call: Call) -> Answered:
    order = call.exchange.cancel(call.user, call.argument)
    return 200, views.order(order, decimals=call.decimals)


def _cancel_all(call: Call) -> Answered:
    query = call.query
    orders = call.exchange.cancel_all(call.user, query.get("contract"), query.get("side"))
    return 200, shown(call, orders)


def _cancel_batch(call: Call) -> Answered:
    call.funded()
    return 200, [_cancelled(call, ident) for ident in read_ids(call.body)]


def read_ids(body: bytes) -> list[str]:
    """One to twenty ids, as numbers or strings. Raises Refusal."""
    try:
        wanted = msgspec.json.decode(body, type=list[int | str])
    except msgspec.DecodeError as error:
        raise unreadable(error) from None
    if not 1 <= len(wanted) <= CANCELS_MAX:
        raise Refusal("INVALID_PARAM_VALUE", f"a batch has 1 to {CANCELS_MAX} order ids")
    return [str(ident) for ident in wanted]


def _cancelled(call: Call, ident: str) -> Json:
    answer: Json = {"id": ident, "user_id": call.user.uid, "succeeded": True, "message": ""}
    try:
        call.exchange.cancel(call.user, ident)
    except Refusal as refusal:
        return answer | {"succeeded": False, "message": refusal.label}
    return answer


def _countdown(call: Call) -> Answered:
    due = call.exchange.countdowns.set(call.funded(), call.body)
    return 200, {"triggerTime": int(due * 1000)}


def _fills(call: Call) -> Answered:
    user, contract, order_id = call.funded(), call.contract(), call.query.get("order")
    trades = [
        trade
        for trade in reversed(user.trades)
        if contract in (None, trade.contract) and order_id in (None, str(trade.order_id))
    ]
    return 200, [views.trade(trade, decimals=call.decimals) for trade in call.page(trades)]


def _fills_between(call: Call) -> Answered:
    """As `my_trades`, with the trade's id under its other name."""
    user, contract = call.funded(), call.contract()
    trades = [trade for trade in reversed(user.trades) if contract in (None, trade.contract)]
    trades = call.page(call.between(trades, lambda trade: trade.create_time))
    rows = [views.trade(trade, decimals=call.decimals) for trade in trades]
    return 200, [{"trade_id": str(one.pop("id")), **one} for one in rows]


ENDPOINTS = (
    Endpoint("POST", "futures/usdt/orders", "orders", _place),
    Endpoint("GET", "futures/usdt/orders/{}", "order", _find),
    Endpoint("PUT", "futures/usdt/orders/{}", "orders", _amend),
    Endpoint("DELETE", "futures/usdt/orders/{}", "cancels", _cancel),
    Endpoint("POST", "futures/usdt/batch_orders", "orders", _place_batch),
    Endpoint("POST", "futures/usdt/batch_amend_orders", "orders", _amend_batch),
    Endpoint("POST", "futures/usdt/batch_cancel_orders", "cancels", _cancel_batch),
    Endpoint("GET", "futures/usdt/orders", "list_orders", _list),
    Endpoint("GET", "futures/usdt/orders_timerange", "orders_timerange", _between),
    Endpoint("DELETE", "futures/usdt/orders", "cancels", _cancel_all),
    Endpoint("POST", "futures/usdt/countdown_cancel_all", "countdown", _countdown),
    Endpoint("GET", "futures/usdt/my_trades", "my_trades", _fills),
    Endpoint("GET", "futures/usdt/my_trades_timerange", "my_trades", _fills_between),
)
