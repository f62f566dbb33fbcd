"""Fills: who trades with whom, at which price, and how an order ends.

Nothing here awaits. A taker meets the book best price first; what a reduce-only order may trade is
looked at before each fill, since the fill before may have taken the position.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal

from loadtest.exchanges.gateio.book import Book
from loadtest.exchanges.gateio.ledger import Account, Trade
from loadtest.exchanges.gateio.orders import Order
from loadtest.exchanges.gateio.positions import ZERO

TAPE_MAX = 1_000


class Matching:
    """Moves contracts and money between accounts and the market maker (`house`)."""

    def __init__(
        self, books: Mapping[str, Book], accounts: Mapping[str, Account], now: Callable[[], float]
    ) -> None:
        self._books = books
        self._accounts = accounts
        self._now = now
        self.house = Account(
            uid=0, key="", secret=b"", balance=ZERO
        )  # the market maker's side of every trade with it
        self._next_trade = 1
        self.tape: dict[str, deque[Trade]] = {name: deque(maxlen=TAPE_MAX) for name in books}
        """The takers' last fills, for whoever asks for public trades."""

    def take(self, account: Account, order: Order, book: Book, limit: Decimal) -> None:
        for quote in book.opposite(buy=order.is_buy, limit=limit):
            qty = min(abs(order.left), quote.qty, self.may_trade(account, order))
            if quote.order is not None:
                other = self._owner(quote.order)
                qty = min(qty, self.may_trade(other, quote.order))
                if qty > 0:
                    self._fill(other, quote.order, qty, quote.price, book, taker=False)
            elif qty > 0:
                self._house_takes(-qty.copy_sign(order.size), quote.price, book)
            if qty > 0:
                self._fill(account, order, qty, quote.price, book, taker=True)
                book.last = quote.price
                self._next_trade += 1
            if order.finish_as is not None or self.may_trade(account, order) <= 0:
                return

    def meet_maker(self, book: Book, order: Order) -> None:
        """The maker came to a resting order: it is filled at its own price, as the older one."""
        account = self._owner(order)
        depth = book.level_size * book.levels
        qty = min(abs(order.left), depth, self.may_trade(account, order))
        if qty > 0:
            self._house_takes(-qty.copy_sign(order.size), order.price, book)
            self._fill(account, order, qty, order.price, book, taker=False)
            book.last = order.price
            self._next_trade += 1

    @staticmethod
    def may_trade(account: Account, order: Order) -> Decimal:
        """Contracts that the order may still trade: all that is left, or what there is to reduce."""
        if not order.reducing:
            return abs(order.left)
        position = account.size_of(order.contract, order.leg)
        return min(abs(order.left), abs(position)) if position * order.left < 0 else ZERO

    def _house_takes(self, signed: Decimal, price: Decimal, book: Book) -> None:
        pnl, _ = self.house.position(book.contract).apply(signed, price, self._now())
        self.house.balance = (self.house.balance or ZERO) + pnl

    def _fill(self, account: Account, order: Order, qty: Decimal, price: Decimal, book: Book, *,
              taker: bool) -> None:  # fmt: skip
        now = self._now()
        account.fill(order, qty, price, taker=taker, trade=self._next_trade,
                     contract=book.contract, now=now)  # fmt: skip
        account.order_margin -= order.margin_each * qty
        if taker:
            self.tape[order.contract].append(account.trades[-1])
        if not order.left:
            self.end(account, order, "filled")
        for held in list(account.open_orders.values()):
            if (
                held is not order
                and held.reducing
                and held.contract == order.contract
                and self.may_trade(account, held) <= 0
            ):
                self.end(account, held, _nothing_to_reduce(held))
        if taker or order.finish_as is not None:
            return
        if self.may_trade(account, order) <= 0:
            self.end(account, order, _nothing_to_reduce(order))
        else:
            self._tell(account, order)

    def settle(self, account: Account, order: Order, book: Book, takes: bool) -> None:
        """What was not matched at once: cancelled (IOC, nothing to reduce), or put on the book."""
        if self.may_trade(account, order) <= 0:
            self.end(account, order, _nothing_to_reduce(order))
        elif takes:
            self.end(account, order, "ioc")
        else:
            book.rest(order)
            self._tell(account, order)

    @staticmethod
    def _tell(account: Account, order: Order) -> None:
        if account.feed is not None:
            account.feed.order(order)

    def end(self, account: Account, order: Order, finish_as: str) -> None:
        account.order_margin -= order.margin_each * abs(order.left)
        del account.open_orders[order.id]
        if order.resting:
            self._books[order.contract].remove(order)
        order.finish(finish_as, self._now())
        self._tell(account, order)

    def _owner(self, order: Order) -> Account:
        return self._accounts[order.key]


def _nothing_to_reduce(order: Order) -> str:
    return "position_closed" if order.close or order.auto_size else "reduce_only"
