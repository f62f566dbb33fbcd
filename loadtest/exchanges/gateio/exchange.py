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

from loadtest.exchanges.gateio import rules
from loadtest.exchanges.gateio.book import Book
from loadtest.exchanges.gateio.contracts import DEFAULT_CONTRACTS, Contract
from loadtest.exchanges.gateio.countdown import Countdowns
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.matching import Matching
from loadtest.exchanges.gateio.orders import TEXT, Arrival, NewOrder, Order
from loadtest.exchanges.gateio.positions import ZERO, Leg
from loadtest.exchanges.gateio.refusal import Refusal, invalid
from loadtest.exchanges.gateio.spot_exchange import SpotExchange
from loadtest.exchanges.gateio.spot_triggers import SpotTriggers
from loadtest.exchanges.gateio.trails import Trails
from loadtest.exchanges.gateio.triggers import Triggers

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
        self.books = {contract.name: Book(contract) for contract in contracts}
        self.marks = {name: book.mark for name, book in self.books.items()}
        self.accounts: dict[str, Account] = {}  # by api key
        self.orders: list[Order] = []  # all that were ever accepted, in order of execution
        self.spot = SpotExchange(now=now, monotonic=monotonic)
        self.spot_triggers = SpotTriggers(self.spot)
        self.matching = Matching(self.books, self.accounts, now)
        self.triggers = Triggers(self)
        self.trails = Trails(self)
        self.countdowns = Countdowns(self)
        self.refused: Counter[str] = Counter()
        self.on_market: Callable[[str], None] | None = None
        """Told the contract whose market may have moved, where anybody listens."""
        self._next_id = 36_028_797_018_963_968  # as wide as the real ones
        self._next_auto = 1_700_000_000
        self._queue_end = 0

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
        sub_of: str | None = None,
    ) -> Account:
        """A user with one key. `balance` None: a user who never funded a futures account.

        `sub_of`: the key of the account that this is a sub-account of.
        """
        if key in self.accounts:
            raise invalid("key", key)
        if sub_of is not None and sub_of not in self.accounts:
            raise invalid("sub_of", sub_of)
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
            main=self.accounts[sub_of].uid if sub_of is not None else None,
            created_at=self.now(),
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
                self.matching.meet_maker(book, order)
        self._traded(contract)
        if self.on_market is not None:
            self.on_market(contract)
        return len(hit)

    @property
    def house(self) -> Account:
        """The market maker."""
        return self.matching.house

    def tick(self) -> None:
        """What is due by the clock: countdowns and expiries. Called again and again by the server."""
        now = self.now()
        self.countdowns.look(now)
        self.triggers.expire(now)

    # ------------------------------------------------------------------ placing

    def place(self, account: Account, wanted: NewOrder, arrival: Arrival) -> Order:
        """Execute one order request. Raises Refusal; then nothing has changed."""
        rules.funded(account)
        book = self.book(wanted.contract)
        contract = book.contract
        leg = rules.leg_of(account, wanted)
        size = rules.signed_size(account, wanted, contract, leg)
        buy = size > 0
        limit = rules.worst_price(wanted, book, buy)
        reducing = wanted.reduce_only or wanted.close
        margin_each = (
            ZERO if reducing else rules.reserve(account, book, size, limit, leg, self.marks)
        )
        takes = wanted.tif in ("ioc", "fok")
        if not takes and len(account.open_orders) >= contract.orders_limit:
            raise Refusal("TOO_MANY_ORDERS", f"more than {contract.orders_limit} open orders")
        if wanted.tif == "poc" and book.crosses(buy=buy, limit=limit):
            raise Refusal("ORDER_POC_IMMEDIATE", f"order price {wanted.price} would match at once")
        if wanted.tif == "fok" and not book.can_fill(abs(size), buy=buy, limit=limit):
            raise Refusal("ORDER_FOK", "FOK order cannot be filled completely")
        order = self._accept(account, wanted, size, margin_each, contract, arrival, leg)
        self.matching.take(account, order, book, limit)
        if order.finish_as is None:
            self.matching.settle(account, order, book, takes)
        if order.filled:
            self._traded(contract.name)
        if self.on_market is not None:
            self.on_market(contract.name)
        return order

    def _traded(self, contract: str) -> None:
        """The last price may have moved."""
        self.triggers.look(contract)
        self.trails.look(contract)

    def next_id(self) -> int:
        """An id for what is not an order."""
        self._next_auto += 1
        return self._next_auto

    def next_queue(self) -> int:
        """A place behind everything that rests."""
        self._queue_end += 1
        return self._queue_end

    def own_arrival(self) -> Arrival:
        """Of an order that no request asked for."""
        return Arrival(-1, self.monotonic(), self.now())

    def _accept(
        self,
        account: Account,
        wanted: NewOrder,
        size: Decimal,
        margin_each: Decimal,
        contract: Contract,
        arrival: Arrival,
        leg: Leg,
    ) -> Order:
        now = self.now()
        order = Order(
            id=self._next_id,
            queue=self.next_queue(),
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
            leg=leg,
            auto_size=wanted.auto_size,
        )
        self._next_id += 1
        self.orders.append(order)
        account.orders.append(order)
        if TEXT.fullmatch(order.text):
            account.by_text[order.text] = order  # the later one hides the earlier
        account.open_orders[order.id] = order
        account.order_margin += margin_each * abs(size)
        return order

    # ------------------------------------------------------------------ looking up, cancelling

    def find(self, account: Account, ident: str) -> Order:
        """By id or by text. Raises ORDER_NOT_FOUND, also for what the venue has forgotten."""
        rules.funded(account)
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
        self.matching.end(account, order, "cancelled")
        if self.on_market is not None:
            self.on_market(order.contract)
        return order

    def cancel_all(
        self, account: Account, contract: str | None = None, side: str | None = None
    ) -> list[Order]:
        """Cancel all open orders, of one contract or one side (`bid`, `ask`) where given."""
        rules.funded(account)
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
            self.matching.end(account, order, "cancelled")
        return chosen

    def list_orders(self, account: Account, status: str, contract: str | None) -> list[Order]:
        """Newest first."""
        rules.funded(account)
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
