"""Price-triggered orders: rest with the venue until a price is reached, then become an order.

Rule 1 waits for a price at or above the trigger, which must lie above the last one; rule 2 for one at
or below, which must lie below. They have no client id (the text is a source: web, api, app; the order
that comes of one has `ao-` and its id), no link to another one (no OCO), and hold no margin. What the
order that comes of one may not do is found out when it fires: it then ends as `failed`, with the
venue's label as reason.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import msgspec

from loadtest.exchanges.gateio.book import Book
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.orders import (
    AUTO_SIZES,
    NewOrder,
    Number,
    number,
    unreadable,
)
from loadtest.exchanges.gateio.positions import ZERO
from loadtest.exchanges.gateio.refusal import Refusal, invalid

if TYPE_CHECKING:
    from loadtest.exchanges.gateio.exchange import Exchange

SOURCES = ("web", "api", "app")
ORDER_TYPES = tuple(
    f"{kind}close-{side}-{what}"
    for kind, what in (("", "order"), ("", "position"), ("plan-", "position"))
    for side in ("long", "short")
)


class _Initial(msgspec.Struct):
    contract: str
    size: Number | None = None
    amount: str | None = None
    price: Number | None = None
    close: bool = False
    tif: str | None = None
    text: str | None = None
    reduce_only: bool = False
    auto_size: str | None = None


class _Trigger(msgspec.Struct):
    price: Number
    rule: Literal[1, 2]
    strategy_type: Literal[0, 1] = 0
    price_type: Literal[0, 1, 2] = 0
    expiration: int | None = None


class _Body(msgspec.Struct):
    initial: _Initial
    trigger: _Trigger
    order_type: str | None = None


class _Change(msgspec.Struct):
    size: Number | None = None
    amount: str | None = None
    price: Number | None = None
    trigger_price: Number | None = None
    price_type: Literal[0, 1, 2] | None = None


class Triggered(msgspec.Struct, kw_only=True, eq=False):
    """One price-triggered order. Times in seconds."""

    id: int
    owner: Account
    wanted: NewOrder
    price: Decimal
    rule: int
    price_type: int
    expiration: int | None
    order_type: str
    create_time: float
    status: Literal["open", "finished"] = "open"
    finish_as: str | None = None
    finish_time: float | None = None
    trade_id: int = 0
    reason: str = ""

    def reached(self, book: Book) -> bool:
        at = book.price_of(self.price_type)
        return at >= self.price if self.rule == 1 else at <= self.price


class Triggers:
    """All of the venue's; `waiting` by contract, so that a price looks at its own only."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._all: dict[int, Triggered] = {}
        self.waiting: dict[str, dict[int, Triggered]] = {}

    # ------------------------------------------------------------------ asked for

    def create(self, account: Account, body: bytes) -> Triggered:
        """Raises Refusal."""
        try:
            asked = msgspec.json.decode(body, type=_Body, strict=False)
        except msgspec.DecodeError as error:
            raise unreadable(error) from None
        book = self._exchange.book(asked.initial.contract)
        price = self._trigger_price(asked.trigger.price, asked.trigger.rule, book)
        if asked.trigger.strategy_type != 0:
            raise invalid("strategy_type", asked.trigger.strategy_type)
        if asked.trigger.expiration is not None and asked.trigger.expiration <= 0:
            raise invalid("expiration", asked.trigger.expiration)
        if asked.order_type and asked.order_type not in ORDER_TYPES:
            raise invalid("order_type", asked.order_type)
        it = Triggered(
            id=self._exchange.next_id(),
            owner=account,
            wanted=_order(asked.initial),
            price=price,
            rule=asked.trigger.rule,
            price_type=asked.trigger.price_type,
            expiration=asked.trigger.expiration,
            order_type=asked.order_type or "",
            create_time=self._exchange.now(),
        )
        self._all[it.id] = it
        self.waiting.setdefault(book.contract.name, {})[it.id] = it
        self._tell(it)
        return it

    def amend(self, account: Account, ident: str, body: bytes) -> Triggered:
        """Raises Refusal; then it stands as it stood."""
        try:
            change = msgspec.json.decode(body, type=_Change, strict=False)
        except msgspec.DecodeError as error:
            raise unreadable(error) from None
        it = self._open(account, ident)
        book = self._exchange.book(it.wanted.contract)
        new = it.wanted
        if change.amount is not None or change.size is not None:
            new = msgspec.structs.replace(new, size=_size(change.amount, change.size))
        if change.price is not None:
            price = number("price", change.price)
            new = msgspec.structs.replace(new, price=price)
        if change.trigger_price is not None:
            it.price = self._trigger_price(change.trigger_price, it.rule, book)
        if change.price_type is not None:
            it.price_type = change.price_type
        it.wanted = new
        self._tell(it)
        return it

    def find(self, account: Account, ident: str) -> Triggered:
        """Raises AUTO_ORDER_NOT_FOUND."""
        it = self._all.get(int(ident)) if ident.isascii() and ident.isdigit() else None
        if it is None or it.owner is not account:
            raise Refusal("AUTO_ORDER_NOT_FOUND", "auto order not found")
        return it

    def cancel(self, account: Account, ident: str) -> Triggered:
        """Raises AUTO_ORDER_NOT_FOUND, also for one that has ended."""
        it = self._open(account, ident)
        self._end(it, "cancelled")
        return it

    def cancel_all(self, account: Account, contract: str | None) -> list[Triggered]:
        chosen = self.list(account, "open", contract)
        for it in chosen:
            self._end(it, "cancelled")
        return chosen

    def list(self, account: Account, status: str, contract: str | None) -> list[Triggered]:
        """Newest first. Raises Refusal."""
        if status not in ("open", "finished"):
            raise invalid("status", status)
        if contract is not None:
            self._exchange.book(contract)
        return [
            it
            for it in reversed(self._all.values())
            if it.owner is account
            and it.status == status
            and contract in (None, it.wanted.contract)
        ]

    # ------------------------------------------------------------------ what happens to them

    def look(self, contract: str) -> None:
        """A price of this contract has moved: fire what was reached, oldest first."""
        waiting = self.waiting.get(contract)
        if not waiting:
            return
        book = self._exchange.book(contract)
        for it in [it for it in waiting.values() if it.reached(book)]:
            if it.status == "open":
                self._fire(it)

    def expire(self, now: float) -> None:
        for waiting in self.waiting.values():
            for it in list(waiting.values()):
                if it.expiration is not None and now >= it.create_time + it.expiration:
                    self._end(it, "expired")

    def _fire(self, it: Triggered) -> None:
        del self.waiting[it.wanted.contract][it.id]  # first, or its own fill would fire it again
        wanted = msgspec.structs.replace(it.wanted, text=f"ao-{it.id}")
        try:
            it.trade_id = self._exchange.place(it.owner, wanted, self._exchange.own_arrival()).id
        except Refusal as refusal:
            it.reason = refusal.label
            self._end(it, "failed")
        else:
            self._end(it, "succeeded")

    def _end(self, it: Triggered, finish_as: str) -> None:
        self.waiting[it.wanted.contract].pop(it.id, None)
        it.status, it.finish_as, it.finish_time = "finished", finish_as, self._exchange.now()
        self._tell(it)

    def _tell(self, it: Triggered) -> None:
        if it.owner.feed is not None:
            it.owner.feed.auto_order(it)

    def _open(self, account: Account, ident: str) -> Triggered:
        it = self.find(account, ident)
        if it.status != "open":
            raise Refusal("AUTO_ORDER_NOT_FOUND", "auto order not found")
        return it

    @staticmethod
    def _trigger_price(asked: Number, rule: int, book: Book) -> Decimal:
        price = number("trigger.price", asked)
        if price <= 0 or price % book.contract.order_price_round:
            raise invalid("trigger.price", asked)
        if rule == 1 and price <= book.last:
            message = "invalid argument: Trigger.Price must > last_price"
            raise Refusal("AUTO_TRIGGER_PRICE_GREATE_LAST", message)
        if rule == 2 and price >= book.last:
            message = "invalid argument: Trigger.Price must < last_price"
            raise Refusal("AUTO_TRIGGER_PRICE_LESS_LAST", message)
        return price


def _size(amount: str | None, size: Number | None) -> Decimal:
    return number("amount", amount) if amount is not None else number("size", size)


def _order(asked: _Initial) -> NewOrder:
    size = _size(asked.amount, asked.size)
    price = number("price", asked.price)
    tif = asked.tif or "gtc"
    auto_size = asked.auto_size or None
    whole = asked.close or auto_size is not None
    if auto_size not in (None, *AUTO_SIZES):
        raise invalid("auto_size", asked.auto_size)
    if whole != (size == ZERO):
        raise invalid("size", asked.size)
    if tif not in ("gtc", "ioc"):
        raise invalid("tif", asked.tif)
    if price < 0 or (price == 0 and tif != "ioc"):
        raise invalid("price", asked.price)
    return NewOrder(
        contract=asked.contract,
        size=size,
        price=price,
        tif=tif,
        text=asked.text if asked.text in SOURCES else "api",
        reduce_only=asked.reduce_only or auto_size is not None,
        close=asked.close,
        iceberg=ZERO,
        slip_ratio=None,
        auto_size=auto_size,
    )
