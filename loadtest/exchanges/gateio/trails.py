"""Trailing orders (autoorder/v1/trail): follow a price, and become a market order when it turns.

`amount` is signed: a sell follows the highest price since its activation and fires `price_offset`
below it, a buy follows the lowest and fires as far above. The offset is a distance (`0.1`) or a
ratio (`0.1%`). Activation price zero: at once. Prices: 1 last, 2 index, 3 mark.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from loadtest.exchanges.gateio.book import Book
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.orders import TEXT, NewOrder, number, unreadable
from loadtest.exchanges.gateio.positions import ZERO
from loadtest.exchanges.gateio.refusal import Refusal, invalid

if TYPE_CHECKING:
    from loadtest.exchanges.gateio.exchange import Exchange

T = TypeVar("T")
_PRICE_TYPES = {1: 0, 2: 2, 3: 1}  # as price-triggered orders number them


class _Body(msgspec.Struct):
    contract: str
    amount: str
    price_offset: str
    activation_price: str = "0"
    is_gte: bool = False
    price_type: Literal[1, 2, 3] = 1
    reduce_only: bool = False
    position_related: bool = False
    text: str = "apiv4"


class _Change(msgspec.Struct):
    id: int
    amount: str | None = None
    activation_price: str | None = None
    price_type: Literal[0, 1, 2, 3] | None = None
    price_offset: str | None = None


class _Which(msgspec.Struct):
    id: int | None = None
    text: str | None = None
    contract: str | None = None


class Trail(msgspec.Struct, kw_only=True, eq=False):
    """One trailing order. Times in seconds; `extremum` is None until it is active."""

    id: int
    owner: Account
    contract: str
    amount: Decimal
    activation_price: Decimal
    is_gte: bool
    price_type: int
    price_offset: str
    reduce_only: bool
    position_related: bool
    text: str
    created_at: float
    extremum: Decimal | None = None
    activated_at: float | None = None
    finished_at: float | None = None
    trigger_price: Decimal = ZERO
    suborder_id: int = 0
    reason: str = ""

    @property
    def sells(self) -> bool:
        return self.amount < 0

    def follow(self, book: Book, now: float) -> bool:
        """Take notice of the price; True where it has turned far enough."""
        at = book.price_of(_PRICE_TYPES[self.price_type])
        if self.extremum is None:
            ahead = at >= self.activation_price if self.is_gte else at <= self.activation_price
            if self.activation_price and not ahead:
                return False
            self.extremum, self.activated_at = at, now
        self.extremum = max(self.extremum, at) if self.sells else min(self.extremum, at)
        distance = _distance(self.price_offset, self.extremum)
        self.trigger_price = self.extremum + (-distance if self.sells else distance)
        return at <= self.trigger_price if self.sells else at >= self.trigger_price


class Trails:
    """All of the venue's; `waiting` by contract."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._all: dict[int, Trail] = {}
        self.waiting: dict[str, dict[int, Trail]] = {}

    def create(self, account: Account, body: bytes) -> Trail:
        """Raises Refusal."""
        asked = _read(body, _Body)
        book = self._exchange.book(asked.contract)
        amount = number("amount", asked.amount)
        if not amount:
            raise invalid("amount", asked.amount)
        if asked.text != "apiv4" and not TEXT.fullmatch(asked.text):
            raise invalid("text", asked.text)
        if asked.position_related and not asked.reduce_only:
            raise invalid("reduce_only", asked.reduce_only)
        _distance(asked.price_offset, book.mark)
        it = Trail(
            id=self._exchange.next_id(),
            owner=account,
            contract=asked.contract,
            amount=amount,
            activation_price=number("activation_price", asked.activation_price),
            is_gte=asked.is_gte,
            price_type=asked.price_type,
            price_offset=asked.price_offset,
            reduce_only=asked.reduce_only,
            position_related=asked.position_related,
            text=asked.text,
            created_at=self._exchange.now(),
        )
        self._all[it.id] = it
        self.waiting.setdefault(it.contract, {})[it.id] = it
        it.follow(book, it.created_at)
        return it

    def update(self, account: Account, body: bytes) -> Trail:
        """Raises Refusal."""
        asked = _read(body, _Change)
        it = self._open(account, asked.id, None)
        if asked.price_offset is not None:
            _distance(asked.price_offset, self._exchange.book(it.contract).mark)
            it.price_offset = asked.price_offset
        if asked.amount is not None:
            it.amount = number("amount", asked.amount)
        if asked.activation_price is not None:
            it.activation_price = number("activation_price", asked.activation_price)
        if asked.price_type:
            it.price_type = asked.price_type
        return it

    def stop(self, account: Account, body: bytes) -> Trail:
        """By id, or by text. Raises AUTO_ORDER_NOT_FOUND, also for one that has ended."""
        asked = _read(body, _Which)
        it = self._open(account, asked.id, asked.text)
        self._end(it, "cancelled")
        return it

    def stop_all(self, account: Account, body: bytes) -> list[Trail]:
        asked = _read(body or b"{}", _Which)
        chosen = self.list(account, contract=asked.contract or None, finished=False)
        for it in chosen:
            self._end(it, "cancelled")
        return chosen

    def list(self, account: Account, *, contract: str | None, finished: bool) -> list[Trail]:
        """Newest first."""
        return [
            it
            for it in reversed(self._all.values())
            if it.owner is account
            and contract in (None, it.contract)
            and (it.finished_at is not None) == finished
        ]

    def find(self, account: Account, ident: str) -> Trail:
        """Raises AUTO_ORDER_NOT_FOUND."""
        it = self._all.get(int(ident)) if ident.isascii() and ident.isdigit() else None
        if it is None or it.owner is not account:
            raise Refusal("AUTO_ORDER_NOT_FOUND", "trail order not found")
        return it

    def look(self, contract: str) -> None:
        """A price of this contract has moved."""
        waiting = self.waiting.get(contract)
        if not waiting:
            return
        book, now = self._exchange.book(contract), self._exchange.now()
        for it in [it for it in waiting.values() if it.follow(book, now)]:
            if it.finished_at is None:
                self._fire(it)

    def _fire(self, it: Trail) -> None:
        del self.waiting[it.contract][it.id]  # first, or its own fill would fire it again
        wanted = NewOrder(
            contract=it.contract, size=it.amount, price=ZERO, tif="ioc",
            text=it.text if TEXT.fullmatch(it.text) else f"ao-{it.id}",
            reduce_only=it.reduce_only, close=False, iceberg=ZERO, slip_ratio=None,
        )  # fmt: skip
        try:
            order = self._exchange.place(it.owner, wanted, self._exchange.own_arrival())
        except Refusal as refusal:
            self._end(it, refusal.label)
        else:
            it.suborder_id = order.id
            self._end(it, "triggered")

    def _end(self, it: Trail, reason: str) -> None:
        self.waiting[it.contract].pop(it.id, None)
        it.reason, it.finished_at = reason, self._exchange.now()

    def _open(self, account: Account, ident: int | None, text: str | None) -> Trail:
        for it in self.list(account, contract=None, finished=False):
            if it.id == ident or (ident is None and text is not None and it.text == text):
                return it
        raise Refusal("AUTO_ORDER_NOT_FOUND", "trail order not found")


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except msgspec.DecodeError as error:
        raise unreadable(error) from None


def _distance(offset: str, at: Decimal) -> Decimal:
    """`0.1` is a distance, `0.1%` a part of the price. Raises INVALID_PARAM_VALUE."""
    ratio = offset.endswith("%")
    value = number("price_offset", offset.removesuffix("%"))
    if value <= 0:
        raise invalid("price_offset", offset)
    return at * value / 100 if ratio else value
