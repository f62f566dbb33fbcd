"""Who listens to what: subscriptions of all connections, and the pushes to them.

An account that nobody listens to has no feed, and pushes cost it nothing. What happens to an account
is pushed at once, so before the answer to the request that did it; market data is gathered and pushed
at the venue's tick. Nothing is kept for a connection that is gone: there is no replay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import orjson

from loadtest.exchanges.gateio import market_views
from loadtest.exchanges.gateio.book import Book
from loadtest.exchanges.gateio.exchange import Exchange
from loadtest.exchanges.gateio.ledger import Account, Trade
from loadtest.exchanges.gateio.orders import Order
from loadtest.exchanges.gateio.positions import Position
from loadtest.exchanges.gateio.triggers import Triggered
from loadtest.exchanges.gateio.ws import messages

PRIVATE = (
    "futures.orders", "futures.usertrades", "futures.positions", "futures.balances",
    "futures.autoorders", "futures.position_closes", "futures.liquidates",
    "futures.auto_deleverages", "futures.reduce_risk_limits",
)  # fmt: skip
SPOT = ("spot.orders", "spot.usertrades", "spot.balances")
PUBLIC = ("futures.tickers", "futures.book_ticker", "futures.trades")
ALL = "!all"

View = Callable[[bool], Any]


class Listener(Protocol):
    """One connection."""

    decimals: bool

    def push(self, channel: str, key: str, message: bytes) -> None: ...


class _Subscribers:
    """Of one channel of one account, or of one public channel: contract (or ALL) by listener."""

    def __init__(self) -> None:
        self.contracts: dict[Listener, set[str]] = {}

    def of(self, contract: str | None) -> list[Listener]:
        return [
            listener
            for listener, names in self.contracts.items()
            if contract is None or ALL in names or contract in names
        ]


class Feed:
    """What one account's listeners are told."""

    def __init__(self, account: Account, now: Callable[[], float]) -> None:
        self._account = account
        self._now = now
        self.channels = {name: _Subscribers() for name in (*PRIVATE, *SPOT)}

    @property
    def heard(self) -> bool:
        return any(subscribers.contracts for subscribers in self.channels.values())

    def order(self, order: Order) -> None:
        order.update_id += 1
        self._tell("futures.orders", order.contract, lambda d: [messages.order(order, decimals=d)])

    def fill(self, account: Account, trade: Trade, position: Position) -> None:
        name = trade.contract
        self._tell("futures.usertrades", name, lambda d: [messages.fill(trade, decimals=d)])
        self.position(account, position)
        self._tell("futures.balances", None, lambda _: messages.balances(trade, account))
        if not position.size:
            last = account.closed[-1]
            self._tell("futures.position_closes", name, lambda _: [messages.closed(last, account)])

    def position(self, account: Account, position: Position) -> None:
        self._tell(
            "futures.positions",
            position.contract.name,
            lambda d: [messages.position(position, account, decimals=d)],
        )

    def auto_order(self, it: Triggered) -> None:
        view: View = lambda d: [messages.auto_order(it, decimals=d)]  # noqa: E731
        self._tell("futures.autoorders", it.wanted.contract, view)

    def spot(self, channel: str, pair: str | None, rows: list[Any]) -> None:
        self._tell(channel, pair, lambda _: rows)

    def _tell(self, channel: str, contract: str | None, view: View) -> None:
        send(self.channels[channel].of(contract), channel, self._account.key, view, self._now())


def send(
    listeners: list[Listener], channel: str, key: str, view: View, now: float, event: str = "update"
) -> None:
    """Each form of the message is made once."""
    made: dict[bool, bytes] = {}
    for listener in listeners:
        form = listener.decimals
        if form not in made:
            made[form] = orjson.dumps(messages.envelope(channel, event, view(form), now))
        listener.push(channel, key, made[form])


class Hub:
    """All subscriptions of the venue."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._feeds: dict[str, Feed] = {}
        self._public = {name: _Subscribers() for name in PUBLIC}
        self._moved: set[str] = set()
        self._seen_trade: dict[str, int] = {}
        self._number = 0
        exchange.spot.tell = self._spot

    def _spot(self, key: str, channel: str, pair: str | None, rows: list[Any]) -> None:
        feed = self._feeds.get(key)
        if feed is not None:
            feed.spot(channel, pair, rows)

    def subscribe(
        self, listener: Listener, channel: str, contracts: list[str], account: Account | None
    ) -> None:
        self._of(channel, account).contracts.setdefault(listener, set()).update(contracts)
        if account is not None:
            account.feed = self._feeds[account.key]
        else:
            self._exchange.on_market = self._moved.add
            self._moved.update(self._exchange.books)

    def unsubscribe(
        self, listener: Listener, channel: str, contracts: list[str], account: Account | None
    ) -> None:
        subscribers = self._of(channel, account)
        left = subscribers.contracts.get(listener, set()) - set(contracts)
        if left and contracts and ALL not in contracts:
            subscribers.contracts[listener] = left
        else:
            subscribers.contracts.pop(listener, None)
        self._quiet()

    def forget(self, listener: Listener) -> None:
        """The connection is gone."""
        for feed in self._feeds.values():
            for subscribers in feed.channels.values():
                subscribers.contracts.pop(listener, None)
        for subscribers in self._public.values():
            subscribers.contracts.pop(listener, None)
        self._quiet()

    def flush(self) -> None:
        """Push what the market did since the last time."""
        moved, self._moved = self._moved, set()
        if not moved:
            return
        if self._exchange.on_market is not None:
            self._exchange.on_market = self._moved.add
        for name in moved:
            self._number += 1
            self._publish_book(self._exchange.book(name), self._number)
            self._publish_trades(name)

    def _publish_book(self, book: Book, number: int) -> None:
        name, now = book.contract.name, self._exchange.now()
        self._publish("futures.tickers", name, lambda d: [market_views.ticker(book, decimals=d)])
        view: View = lambda d: messages.book_ticker(book, now, number, decimals=d)  # noqa: E731
        self._publish("futures.book_ticker", name, view)

    def _publish_trades(self, name: str) -> None:
        seen = self._seen_trade.get(name, 0)
        new = [trade for trade in self._exchange.matching.tape[name] if trade.id > seen]
        if new:
            self._seen_trade[name] = new[-1].id
            view: View = lambda d: [market_views.public_trade(it, decimals=d) for it in new]  # noqa: E731
            self._publish("futures.trades", name, view)

    def _publish(self, channel: str, contract: str, view: View) -> None:
        send(self._public[channel].of(contract), channel, "", view, self._exchange.now())

    def _of(self, channel: str, account: Account | None) -> _Subscribers:
        if account is None:
            return self._public[channel]
        feed = self._feeds.get(account.key)
        if feed is None:
            feed = self._feeds[account.key] = Feed(account, self._exchange.now)
        return feed.channels[channel]

    def _quiet(self) -> None:
        """Accounts and the market that nobody listens to any more cost nothing again."""
        for key, feed in list(self._feeds.items()):
            if not feed.heard:
                del self._feeds[key]
                self._exchange.accounts[key].feed = None
        if not any(subscribers.contracts for subscribers in self._public.values()):
            self._exchange.on_market = None
