"""Gate's spot paths: which call each is, whom it counts against, and what it answers.

Thin: placing and amending count per user, on the live venue per user and pair.
"""

from __future__ import annotations

from typing import Any

import msgspec

from loadtest.exchanges.gateio import spot_views as views
from loadtest.exchanges.gateio.call import Answered, Call, Endpoint
from loadtest.exchanges.gateio.refusal import Refusal, invalid
from loadtest.exchanges.gateio.spot_orders import (
    CANCELS_MAX,
    Number,
    SpotOrder,
    number,
    read_batch,
    read_order,
    unreadable,
)
from loadtest.exchanges.gateio.spot_triggers import shown

DAY_S = 86_400


class _Named(msgspec.Struct):
    currency_pair: str
    id: str
    account: str | None = None


class _Patch(msgspec.Struct):
    currency_pair: str | None = None
    amount: Number | None = None
    price: Number | None = None
    amend_text: str | None = None
    order_id: str = ""


class _Countdown(msgspec.Struct):
    timeout: int
    currency_pair: str | None = None


def _read(body: bytes, shape: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        raise unreadable(error) from None


# ------------------------------------------------------------------ public


def _pairs(call: Call) -> Answered:
    return 200, [views.pair(book) for book in call.exchange.spot.books.values()]


def _pair(call: Call) -> Answered:
    return 200, views.pair(call.exchange.spot.book(call.argument))


def _tickers(call: Call) -> Answered:
    spot, name = call.exchange.spot, call.query.get("currency_pair")
    return 200, [views.ticker(b) for b in ([spot.book(name)] if name else spot.books.values())]


def _order_book(call: Call) -> Answered:
    book = call.exchange.spot.book(call.needed("currency_pair"))
    return 200, views.order_book(book, int(call.query.get("limit", "10")), call.exchange.now())


# ------------------------------------------------------------------ orders


def _place(call: Call) -> Answered:
    order = call.exchange.spot.place(call.user, read_order(call.body), call.arrival)
    return 201, views.order(order)


def _place_batch(call: Call) -> Answered:
    answers = []
    for wanted in read_batch(call.body):
        try:
            order = call.exchange.spot.place(call.user, wanted, call.arrival)
            answers.append({**_succeeded(order), **views.order(order)})
        except Refusal as refusal:
            call.exchange.refused[refusal.label] += 1
            failed = {"text": wanted.text, "currency_pair": wanted.pair}
            answers.append({**failed, **_failed(refusal)})
    return 200, answers


def _succeeded(order: SpotOrder) -> dict[str, Any]:
    return {"order_id": str(order.id), "succeeded": True, "label": "", "message": ""}


def _failed(refusal: Refusal) -> dict[str, Any]:
    return {"succeeded": False, "label": refusal.label, "message": refusal.message}


def _list(call: Call) -> Answered:
    spot, status = call.exchange.spot, call.needed("status")
    wallet = spot.wallet(call.user)
    if status == "open":
        pair = call.needed("currency_pair")
        spot.book(pair)
        rows = [o for o in reversed(wallet.open_orders.values()) if o.pair == pair]
        if int(call.query.get("limit", "100")) > 100:
            raise invalid("limit", call.query["limit"])
    elif status == "finished":
        since, until = _span(call, days=30)
        name, side = call.query.get("currency_pair"), call.query.get("side")
        rows = [
            o
            for o in reversed(wallet.finished)
            if name in (None, o.pair)
            and side in (None, o.side)
            and since <= int(o.finish_time or 0) <= until
        ]
    else:
        raise invalid("status", status)
    return 200, [views.order(order) for order in _pages(call, rows)]


def _find(call: Call) -> Answered:
    order = call.exchange.spot.find(call.user, call.argument, call.query.get("currency_pair"))
    return 200, views.order(order)


def _amend(call: Call) -> Answered:
    patch: _Patch = _read(call.body, _Patch)
    pair = patch.currency_pair or call.needed("currency_pair")
    return 200, views.order(_amended(call, call.argument, pair, patch))


def _amended(call: Call, ident: str, pair: str, patch: _Patch) -> SpotOrder:
    return call.exchange.spot.amend(
        call.user,
        ident,
        pair,
        amount=None if patch.amount is None else number("amount", patch.amount),
        price=None if patch.price is None else number("price", patch.price),
        text=patch.amend_text,
    )


def _amend_batch(call: Call) -> Answered:
    patches: list[_Patch] = _read(call.body, list[_Patch])
    if not 1 <= len(patches) <= 5:
        raise Refusal("INVALID_PARAM_VALUE", "1 to 5 orders")
    answers = []
    for patch in patches:
        try:
            order = _amended(call, patch.order_id, patch.currency_pair or "", patch)
            answers.append({**_succeeded(order), **views.order(order)})
        except Refusal as refusal:
            answers.append({"order_id": patch.order_id, **_failed(refusal)})
    return 200, answers


def _cancel(call: Call) -> Answered:
    order = call.exchange.spot.cancel(call.user, call.argument, call.needed("currency_pair"))
    return 200, views.order(order)


def _cancel_all(call: Call) -> Answered:
    query = call.query
    orders = call.exchange.spot.cancel_all(call.user, query.get("currency_pair"), query.get("side"))
    return 200, [{**_succeeded(order), **views.order(order)} for order in orders]


def _cancel_batch(call: Call) -> Answered:
    named: list[_Named] = _read(call.body, list[_Named])
    if not 1 <= len(named) <= CANCELS_MAX:
        raise Refusal("INVALID_PARAM_VALUE", f"1 to {CANCELS_MAX} orders")
    answers = []
    for one in named:
        said = {"currency_pair": one.currency_pair, "id": one.id, "account": ""}
        try:
            order = call.exchange.spot.cancel(call.user, one.id, one.currency_pair)
            answers.append({**said, "text": order.text, **_succeeded(order)})
        except Refusal as refusal:
            answers.append({**said, "text": "", **_failed(refusal)})
    return 200, answers


def _open_orders(call: Call) -> Answered:
    """Paged within each pair; every pair that has open orders is answered."""
    rows = list(reversed(call.exchange.spot.wallet(call.user).open_orders.values()))
    found = []
    for pair in sorted({order.pair for order in rows}):
        page = _pages(call, [order for order in rows if order.pair == pair])
        shown_orders = [views.order(order) for order in page]
        found.append({"currency_pair": pair, "total": len(page), "orders": shown_orders})
    return 200, found


def _my_trades(call: Call) -> Answered:
    spot = call.exchange.spot
    pair, order_id = call.query.get("currency_pair"), call.query.get("order_id")
    if pair is not None:
        spot.book(pair)
    elif order_id is not None:
        raise Refusal("MISSING_REQUIRED_PARAM", "Missing required parameter: currency_pair")
    since, until = _span(call, days=7)
    trades = [
        trade
        for trade in reversed(spot.wallet(call.user).trades)
        if pair in (None, trade.pair)
        and order_id in (None, str(trade.order_id))
        and since <= int(trade.create_time) <= until
    ]
    return 200, [views.trade(trade) for trade in _pages(call, trades)]


def _span(call: Call, *, days: int) -> tuple[int, int]:
    """`from` and `to`, Unix seconds, both included; at most 30 days, `days` where one is left out."""
    now = int(call.exchange.now())
    given = [call.query.get(name) for name in ("from", "to")]
    if any(text is not None and not (text.isascii() and text.isdigit()) for text in given):
        raise invalid("from", given)
    until = int(given[1]) if given[1] is not None else None
    since = int(given[0]) if given[0] is not None else (until or now) - days * DAY_S
    if until is None:
        until = min(now, since + days * DAY_S)
    if until - since > 30 * DAY_S:
        raise invalid("from", f"{since}: more than 30 days")
    return since, until


def _pages(call: Call, rows: list[Any]) -> list[Any]:
    """Spot counts pages from 1 where futures count an offset."""
    page, limit = call.query.get("page", "1"), call.query.get("limit", "100")
    if not (page.isascii() and page.isdigit() and int(page) >= 1):
        raise invalid("page", page)
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= 1000):
        raise invalid("limit", limit)
    start = (int(page) - 1) * int(limit)
    return rows[start : start + int(limit)]


# ------------------------------------------------------------------ the account


def _accounts(call: Call) -> Answered:
    name = call.query.get("currency")
    held = call.exchange.spot.wallet(call.user).held
    return 200, [views.holding(c, it) for c, it in held.items() if name in (None, c)]


def _fee(call: Call) -> Answered:
    pair = call.query.get("currency_pair")
    books = call.exchange.spot.books
    rate = (books[pair] if pair in books else next(iter(books.values()))).pair.fee_rate
    return 200, {
        "user_id": call.user.uid,
        "taker_fee": str(rate),
        "maker_fee": str(rate),
        "gt_discount": False,
        "gt_taker_fee": "0",
        "gt_maker_fee": "0",
        "loan_fee": "0.18",
        "point_type": "1",
        "currency_pair": pair or "",
        "debit_fee": 3,
    }


def _countdown(call: Call) -> Answered:
    it: _Countdown = _read(call.body, _Countdown)
    due = call.exchange.spot.set_countdown(call.user, it.timeout, it.currency_pair)
    return 200, {"triggerTime": int(due * 1000)}


# ------------------------------------------------------------------ price-triggered orders


def _trigger(call: Call) -> Answered:
    made = call.exchange.spot_triggers.create(call.user, call.body)
    return 201, {"id": made.id, "id_string": str(made.id)}


def _triggers(call: Call) -> Answered:
    rows = call.exchange.spot_triggers.of(
        call.user, call.needed("status"), call.query.get("market")
    )
    return 200, [shown(one) for one in call.page(rows)]


def _trigger_found(call: Call) -> Answered:
    return 200, shown(call.exchange.spot_triggers.find(call.user, call.argument))


def _trigger_cancel(call: Call) -> Answered:
    return 200, shown(call.exchange.spot_triggers.cancel(call.user, call.argument))


def _triggers_cancel(call: Call) -> Answered:
    triggers, market = call.exchange.spot_triggers, call.query.get("market")
    rows = triggers.of(call.user, "open", market)
    return 200, [shown(triggers.cancel(call.user, str(one.id))) for one in rows]


SPOT_ENDPOINTS = (
    Endpoint("POST", "spot/orders", "spot_orders", _place),
    Endpoint("GET", "spot/orders", "spot_list_orders", _list),
    Endpoint("DELETE", "spot/orders", "spot_cancels", _cancel_all),
    Endpoint("GET", "spot/orders/{}", "spot_order", _find),
    Endpoint("PATCH", "spot/orders/{}", "spot_orders", _amend),
    Endpoint("DELETE", "spot/orders/{}", "spot_cancels", _cancel),
    Endpoint("POST", "spot/batch_orders", "spot_orders", _place_batch),
    Endpoint("POST", "spot/amend_batch_orders", "spot_orders", _amend_batch),
    Endpoint("POST", "spot/cancel_batch_orders", "spot_cancels", _cancel_batch),
    Endpoint("GET", "spot/open_orders", "spot_open_orders", _open_orders),
    Endpoint("GET", "spot/my_trades", "spot_my_trades", _my_trades),
    Endpoint("GET", "spot/accounts", "spot_accounts", _accounts),
    Endpoint("GET", "spot/fee", "spot_fee", _fee),
    Endpoint("POST", "spot/countdown_cancel_all", "spot_countdown", _countdown),
    Endpoint("POST", "spot/price_orders", "spot_price_orders", _trigger),
    Endpoint("GET", "spot/price_orders", "spot_price_orders", _triggers),
    Endpoint("DELETE", "spot/price_orders", "spot_price_orders", _triggers_cancel),
    Endpoint("GET", "spot/price_orders/{}", "spot_price_orders", _trigger_found),
    Endpoint("DELETE", "spot/price_orders/{}", "spot_price_orders", _trigger_cancel),
    Endpoint("GET", "spot/currency_pairs", "spot_currency_pairs", _pairs, public=True),
    Endpoint("GET", "spot/currency_pairs/{}", "spot_currency_pairs", _pair, public=True),
    Endpoint("GET", "spot/tickers", "spot_tickers", _tickers, public=True),
    Endpoint("GET", "spot/order_book", "spot_order_book", _order_book, public=True),
)
