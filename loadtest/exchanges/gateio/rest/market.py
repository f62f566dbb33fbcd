"""What needs no key: contracts, tickers, the order book, trades, the venue's time."""

from __future__ import annotations

from loadtest.exchanges.gateio import market_views
from loadtest.exchanges.gateio.call import Answered, Call, Endpoint


def _contracts(call: Call) -> Answered:
    books = list(call.exchange.books.values())
    if "limit" in call.query:
        books = call.page(books)
    return 200, [market_views.contract(book, decimals=call.decimals) for book in books]


def _contract(call: Call) -> Answered:
    book = call.exchange.book(call.argument)
    return 200, market_views.contract(book, decimals=call.decimals)


def _tickers(call: Call) -> Answered:
    name = call.query.get("contract")
    books = [call.exchange.book(name)] if name else call.exchange.books.values()
    return 200, [market_views.ticker(book, decimals=call.decimals) for book in books]


def _order_book(call: Call) -> Answered:
    book = call.exchange.book(call.needed("contract"))
    depth = call.whole("limit", 10, 1, 300)
    now = call.exchange.now()
    shown = market_views.order_book(book, depth, now, decimals=call.decimals)
    if not call.flag("with_id"):
        del shown["id"]
    return 200, shown


def _trades(call: Call) -> Answered:
    """The takers' fills, newest first."""
    book = call.exchange.book(call.needed("contract"))
    trades = call.page(list(reversed(call.exchange.matching.tape[book.contract.name])))
    return 200, [market_views.public_trade(it, decimals=call.decimals) for it in trades]


def _time(call: Call) -> Answered:
    return 200, {"server_time": int(call.exchange.now() * 1000)}


ENDPOINTS = (
    Endpoint("GET", "futures/usdt/contracts", "contracts", _contracts, public=True),
    Endpoint("GET", "futures/usdt/contracts/{}", "contract", _contract, public=True),
    Endpoint("GET", "futures/usdt/tickers", "tickers", _tickers, public=True),
    Endpoint("GET", "futures/usdt/order_book", "order_book", _order_book, public=True),
    Endpoint("GET", "futures/usdt/trades", "trades", _trades, public=True),
    Endpoint("GET", "spot/time", "time", _time, public=True),
)
