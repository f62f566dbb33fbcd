"""The venue: takes orders, matches them, remembers them, and knows when to forget.

An order goes: contract and sizes, what it may reduce, funds, post-only and fill-or-kill, then
matching; a refusal leaves nothing behind. Rules that Gate publishes and clients trip over:

- `text` is not unique: a later order hides an earlier one with the same text in look-ups.
- Open and filled orders are found for ever; cancelled without a fill by text for 60 s, by id 600 s.
- `reduce_only` trades at most the position; what is left over ends as finish_as `reduce_only`.
  Against no position it is refused with REDUCE_EXCEEDED "empty position" (seen on the live venue),
  in the position's own direction with INCREASE_POSITION.

Time comes from the caller's clock, in seconds. Nothing here awaits: each call is one atomic step.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal

from loadtest.exchanges.gateio.book import Book
from loadtest.exchanges.gateio.contracts import DEFAULT_CONTRACTS, Contract
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.orders import TEXT, ZERO, Arrival, NewOrder, Order
from loadtest.exchanges.gateio.refusal import Refusal, invalid
from loadtest.exchanges.gateio.spot_exchange import SpotExchange
from loadtest.exchanges.gateio.spot_triggers import Triggers

TEXT_MEMORY_S = 60.0
ID_MEMORY_S = 600.0
INFINITY = Decimal("Infinity")


class Exchange:
    """Books, accounts and orders of one simulated venue."""

    def __init__(
        self,
        contracts: Iterable[Contract] = DEFAULT_CONTRACTS,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.now = now
        self.monotonic = monotonic
        self.spot = SpotExchange(now=now, monotonic=monotonic)
        self.spot_triggers = Triggers(self.spot)
        self.books = {contract.name: Book(contract) for contract in contracts}
        self.marks = {name: book.mark for name, book in self.books.items()}
        self.accounts: dict[str, Account] = {}  # by api key
        self.orders: list[Order] = []  # all that were ever accepted, in order of execution
        self.house = Account(
            uid=0, key="", secret=b"", balance=ZERO
        )  # the market maker's side of every trade with it
        self.refused: Counter[str] = Counter()
        self._next_id = 36_028_797_018_963_968  # as wide as the real ones
        self._next_trade = 1

    # ------------------------------------------------------------------ set up

    def open_account(
        self,
        *,
        key: str,
        secret: str,
        balance: Decimal | None,
        leverage: Decimal = Decimal(10),
        permissions: tuple[str, ...] = ("futures",),
        ip_whitelist: tuple[str, ...] = (),
        read_only: tuple[str, ...] = (),
    ) -> Account:
        """A user with one key. `balance` None: a user who never funded a futures account."""
        if key in self.accounts:
            raise invalid("key", key)
        account = Account(
            uid=10_001 + len(self.accounts),
            key=key,
            secret=secret.encode(),
            balance=balance,
            leverage=leverage,
            permissions=permissions,
            read_only=read_only,
            ip_whitelist=ip_whitelist,
            deposits=balance or ZERO,
        )
        self.accounts[key] = account
        return account

    def book(self, contract: str) -> Book:
        book = self.books.get(contract)
        if book is None:
            raise Refusal("CONTRACT_NOT_FOUND", f"contract {contract} not found")
        return book

    def set_price(
        self,
        contract: str,
        mark: Decimal,
        *,
        levels: int | None = None,
        level_size: Decimal | None = None,
    ) -> int:
        """Move the mark and the maker's quotes; returns the number of resting orders they hit."""
        if not mark.is_finite() or mark <= 0:
            raise invalid("mark", mark)
        book = self.book(contract)
        book.quote_around(mark, levels=levels, level_size=level_size)
        self.marks[contract] = mark
        hit = [order for order in book.resting() if book.maker_meets(order)]
        for order in hit:
            if order.status == "open":
                self._trade_with_maker(book, order)
        return len(hit)

    # ------------------------------------------------------------------ placing

    def place(self, account: Account, wanted: NewOrder, arrival: Arrival) -> Order:
        """Execute one order request. Raises Refusal; then nothing has changed."""
        self.funded(account)
        book = self.book(wanted.contract)
        contract = book.contract
        size = self._size(account, wanted, contract)
        buy = size > 0
        limit = self._limit(wanted, book, buy)
        reducing = wanted.reduce_only or wanted.close
        margin_each = ZERO if reducing else self._reserve(account, book, size, limit)
        takes = wanted.tif in ("ioc", "fok")
        if not takes and len(account.open_orders) >= contract.orders_limit:
            raise Refusal("TOO_MANY_ORDERS", f"more than {contract.orders_limit} open orders")
        if wanted.tif == "poc" and book.crosses(buy=buy, limit=limit):
            raise Refusal("ORDER_POC_IMMEDIATE", f"order price {wanted.price} would match at once")
        if wanted.tif == "fok" and not book.can_fill(abs(size), buy=buy, limit=limit):
            raise Refusal("ORDER_FOK", "FOK order cannot be filled completely")
        order = self._accept(account, wanted, size, margin_each, contract, arrival)
        self._match(account, order, book, limit)
        if order.finish_as is None:
            self._settle_rest(account, order, book, takes)
        return order

    @staticmethod
    def funded(account: Account) -> None:
        """Raises USER_NOT_FOUND for a user without a futures account."""
        if account.balance is None:
            message = "please transfer funds first to create futures account"
            raise Refusal("USER_NOT_FOUND", message)

    @staticmethod
    def _size(account: Account, wanted: NewOrder, contract: Contract) -> Decimal:
        """The signed size asked for, checked against the contract and the position."""
        position = account.size_of(contract.name)
        if wanted.close:
            if not position:
                raise Refusal("POSITION_EMPTY", "empty position")
            return -position
        size = wanted.size
        if size % contract.size_step:
            raise invalid("size", size)
        if abs(size) < contract.order_size_min:
            raise Refusal("SIZE_TOO_SMALL", f"minimum is {contract.order_size_min}")
        if abs(size) > contract.order_size_max:
            raise Refusal("SIZE_TOO_LARGE", f"maximum is {contract.order_size_max}")
        if wanted.reduce_only:
            if not position:
                raise Refusal("REDUCE_EXCEEDED", "empty position")
            if position * size > 0:
                raise Refusal("INCREASE_POSITION", "reduce-only order would increase position")
        return size

    @staticmethod
    def _limit(wanted: NewOrder, book: Book, buy: bool) -> Decimal:
        """The worst price the order may trade at."""
        contract, mark = book.contract, book.mark
        if wanted.price == 0:
            slip = (
                contract.market_order_slip_ratio if wanted.slip_ratio is None else wanted.slip_ratio
            )
            return mark * (1 + slip) if buy else mark * (1 - slip)
        if wanted.price % contract.order_price_round:
            raise invalid("price", wanted.price)
        if abs(wanted.price - mark) > contract.order_price_deviate * mark:
            raise Refusal("PRICE_TOO_DEVIATED", f"mark price is {mark}")
        return wanted.price

    def _reserve(self, account: Account, book: Book, size: Decimal, limit: Decimal) -> Decimal:
        """Margin and taker fee per contract; raises INSUFFICIENT_AVAILABLE. Only opening costs."""
        contract = book.contract
        position = account.size_of(contract.name)
        opening = abs(size) - (abs(position) if position * size < 0 else ZERO)
        if opening <= 0:
            return ZERO
        price = min(limit, book.mark) if size > 0 else max(limit, book.mark)
        each = price * contract.quanto_multiplier * (1 / account.leverage + contract.taker_fee_rate)
        available = account.available(self.marks)
        if each * opening > available:
            message = f"need {each * opening:.8f}, available {available:.8f}"
            raise Refusal("INSUFFICIENT_AVAILABLE", message)
        return each * opening / abs(size)

    def _accept(
        self,
        account: Account,
        wanted: NewOrder,
        size: Decimal,
        margin_each: Decimal,
        contract: Contract,
        arrival: Arrival,
    ) -> Order:
        now = self.now()
        order = Order(
            id=self._next_id,
            uid=account.uid,
            key=account.key,
            contract=contract.name,
            size=size,
            left=size,
            price=wanted.price,
            tif=wanted.tif,
            text=wanted.text,
            reduce_only=wanted.reduce_only,
            close=wanted.close,
            iceberg=wanted.iceberg,
            maker_fee_rate=contract.maker_fee_rate,
            taker_fee_rate=contract.taker_fee_rate,
            create_time=now,
            update_time=now,
            executed_monotonic=self.monotonic(),
            arrival=arrival,
            margin_each=margin_each,
        )
        self._next_id += 1
        self.orders.append(order)
        account.orders.append(order)
        if TEXT.fullmatch(order.text):
            account.by_text[order.text] = order  # the later one hides the earlier
        account.open_orders[order.id] = order
        account.order_margin += margin_each * abs(size)
        return order

    # ------------------------------------------------------------------ matching

    def _match(self, account: Account, order: Order, book: Book, limit: Decimal) -> None:
        for quote in book.opposite(buy=order.is_buy, limit=limit):
            qty = min(abs(order.left), quote.qty, self._may_trade(account, order))
            if quote.order is not None:
                other = self._owner(quote.order)
                qty = min(qty, self._may_trade(other, quote.order))
                if qty > 0:
                    self._fill(other, quote.order, qty, quote.price, book, taker=False)
            elif qty > 0:
                self._house_takes(-qty.copy_sign(order.size), quote.price, book)
            if qty > 0:
                self._fill(account, order, qty, quote.price, book, taker=True)
                book.last = quote.price
                self._next_trade += 1
            if order.finish_as is not None or self._may_trade(account, order) <= 0:
                return

    def _trade_with_maker(self, book: Book, order: Order) -> None:
        """The maker came to a resting order: it is filled at its own price, as the older one."""
        account = self._owner(order)
        depth = book.level_size * book.levels
        qty = min(abs(order.left), depth, self._may_trade(account, order))
        if qty > 0:
            self._house_takes(-qty.copy_sign(order.size), order.price, book)
            self._fill(account, order, qty, order.price, book, taker=False)
            book.last = order.price
            self._next_trade += 1

    @staticmethod
    def _may_trade(account: Account, order: Order) -> Decimal:
        """Contracts that the order may still trade: all that is left, or what there is to reduce."""
        if not (order.reduce_only or order.close):
            return abs(order.left)
        position = account.size_of(order.contract)
        return min(abs(order.left), abs(position)) if position * order.left < 0 else ZERO

    def _house_takes(self, signed: Decimal, price: Decimal, book: Book) -> None:
        pnl, _ = self.house.position(book.contract).apply(signed, price, self.now())
        self.house.balance = (self.house.balance or ZERO) + pnl

    def _fill(self, account: Account, order: Order, qty: Decimal, price: Decimal, book: Book, *,
              taker: bool) -> None:  # fmt: skip
        now = self.now()
        account.fill(order, qty, price, taker=taker, trade=self._next_trade,
                     contract=book.contract, now=now)  # fmt: skip
        account.order_margin -= order.margin_each * qty
        if not order.left:
            self._end(account, order, "filled")
        for held in list(account.open_orders.values()):
            if (
                held is not order
                and (held.reduce_only or held.close)
                and held.contract == order.contract
                and self._may_trade(account, held) <= 0
            ):
                self._end(account, held, _nothing_to_reduce(held))
        if not taker and order.finish_as is None and self._may_trade(account, order) <= 0:
            self._end(account, order, _nothing_to_reduce(order))

    def _settle_rest(self, account: Account, order: Order, book: Book, takes: bool) -> None:
        """What was not matched at once: cancelled (IOC, nothing to reduce), or put on the book."""
        if self._may_trade(account, order) <= 0:
            self._end(account, order, _nothing_to_reduce(order))
        elif takes:
            self._end(account, order, "ioc")
        else:
            book.rest(order)

    def _end(self, account: Account, order: Order, finish_as: str) -> None:
        account.order_margin -= order.margin_each * abs(order.left)
        del account.open_orders[order.id]
        if order.resting:
            self.books[order.contract].remove(order)
        order.finish(finish_as, self.now())

    def _owner(self, order: Order) -> Account:
        return self.accounts[order.key]

    # ------------------------------------------------------------------ looking up, cancelling

    def find(self, account: Account, ident: str) -> Order:
        """By id or by text. Raises ORDER_NOT_FOUND, also for what the venue has forgotten."""
        self.funded(account)
        order: Order | None = None
        memory_s = ID_MEMORY_S
        if TEXT.fullmatch(ident):
            order, memory_s = account.by_text.get(ident), TEXT_MEMORY_S
        elif ident.isascii() and ident.isdigit():
            place = int(ident) - (self._next_id - len(self.orders))
            order = self.orders[place] if 0 <= place < len(self.orders) else None
            if order is not None and order.uid != account.uid:
                order = None
        else:
            raise invalid("order_id", ident)
        if order is None or self._forgotten(order, memory_s):
            raise Refusal("ORDER_NOT_FOUND", "order not found")
        return order

    def _forgotten(self, order: Order, memory_s: float) -> bool:
        if order.finish_time is None or order.filled:
            return False
        return self.now() - order.finish_time > memory_s

    def cancel(self, account: Account, ident: str) -> Order:
        """Raises ORDER_NOT_FOUND, or ORDER_FINISHED for one that has ended."""
        order = self.find(account, ident)
        if order.status != "open":
            raise Refusal("ORDER_FINISHED", "order finished")
        self._end(account, order, "cancelled")
        return order

    def cancel_all(
        self, account: Account, contract: str | None = None, side: str | None = None
    ) -> list[Order]:
        """Cancel all open orders, of one contract or one side (`bid`, `ask`) where given."""
        self.funded(account)
        if contract is not None:
            self.book(contract)
        if side not in (None, "bid", "ask"):
            raise invalid("side", side)
        chosen = [
            order
            for order in account.open_orders.values()
            if (contract is None or order.contract == contract)
            and (side is None or order.is_buy == (side == "bid"))
        ]
        for order in chosen:
            self._end(account, order, "cancelled")
        return chosen

    def list_orders(self, account: Account, status: str, contract: str | None) -> list[Order]:
        """Newest first."""
        self.funded(account)
        if status not in ("open", "finished"):
            raise invalid("status", status)
        if contract is not None:
            self.book(contract)
        pool = account.open_orders.values() if status == "open" else account.orders
        return [
            order
            for order in reversed(list(pool))
            if order.status == status
            and (contract is None or order.contract == contract)
            and not self._forgotten(order, ID_MEMORY_S)
        ]


def _nothing_to_reduce(order: Order) -> str:
    return "position_closed" if order.close else "reduce_only"
