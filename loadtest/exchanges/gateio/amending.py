"""Amending what rests: its total size, its price, or both.

Gate's rules: the size includes what is filled, and one not above that cancels the order; the side
stays; a close order's size cannot change; a new price or a larger size goes to the end of the queue,
a smaller size keeps its place. A new price may match at once, except for a post-only order.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from loadtest.exchanges.gateio import rules
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.orders import Number, Order, number, unreadable
from loadtest.exchanges.gateio.refusal import Refusal, invalid

if TYPE_CHECKING:
    from loadtest.exchanges.gateio.exchange import Exchange

BATCH_MAX = 10


class Amendment(msgspec.Struct, frozen=True, kw_only=True):
    """What is to change; None leaves it. In a batch, `order_id` or `text` names the order."""

    size: Number | None = None
    price: Number | None = None
    amend_text: str | None = None
    order_id: int | str | None = None
    text: str | None = None

    @property
    def ident(self) -> str:
        """Id or text. Raises MISSING_REQUIRED_PARAM where there is neither."""
        if self.order_id not in (None, "", 0):
            return str(self.order_id)
        if not self.text:
            raise Refusal("MISSING_REQUIRED_PARAM", "Missing required parameter: order_id")
        return self.text


_one = msgspec.json.Decoder(Amendment)
_many = msgspec.json.Decoder(list[Amendment])


def read_amendment(body: bytes) -> Amendment:
    """Raises Refusal for what is malformed."""
    try:
        return _well_formed(_one.decode(body))
    except msgspec.DecodeError as error:
        raise unreadable(error) from None


def read_amendments(body: bytes) -> list[Amendment]:
    """One to ten; one malformed element fails all. Raises Refusal."""
    try:
        wanted = _many.decode(body)
    except msgspec.DecodeError as error:
        raise unreadable(error) from None
    if not 1 <= len(wanted) <= BATCH_MAX:
        raise Refusal("INVALID_PARAM_VALUE", f"a batch has 1 to {BATCH_MAX} orders")
    for one in wanted:
        assert one.ident
    return [_well_formed(one) for one in wanted]


def _well_formed(wanted: Amendment) -> Amendment:
    if wanted.size is None and wanted.price is None:
        raise Refusal("MISSING_REQUIRED_PARAM", "Missing required parameter: size or price")
    number("size", wanted.size)
    if wanted.price is not None and number("price", wanted.price) <= 0:
        raise invalid("price", wanted.price)
    return wanted


def amend(exchange: Exchange, account: Account, ident: str, wanted: Amendment) -> Order:
    """Change an open order. Raises Refusal; then it stands as it stood."""
    order = exchange.find(account, ident)
    if order.status != "open":
        raise Refusal("ORDER_FINISHED", "order finished")
    size = order.size if wanted.size is None else number("size", wanted.size)
    price = order.price if wanted.price is None else number("price", wanted.price)
    if size != order.size and order.close:
        raise invalid("size", wanted.size)
    if size * order.size < 0:
        raise invalid("size", wanted.size)
    if abs(size) <= order.filled:
        order.amend_text = wanted.amend_text or order.amend_text
        exchange.matching.end(account, order, "cancelled")
        return order
    return _moved(exchange, account, order, size, price, wanted.amend_text)


def _moved(
    exchange: Exchange,
    account: Account,
    order: Order,
    size: Decimal,
    price: Decimal,
    amend_text: str | None,
) -> Order:
    book = exchange.book(order.contract)
    left = size - (order.size - order.left)
    rules.fits(size, book.contract)
    rules.limit_price(price, book)
    if order.tif == "poc" and book.crosses(buy=order.is_buy, limit=price):
        raise Refusal("ORDER_POC_IMMEDIATE", f"order price {price} would match at once")
    held = order.margin_each * abs(order.left)
    each = order.margin_each
    if not order.reducing:
        each = rules.reserve(account, book, left, price, order.leg, exchange.marks, freed=held)
    requeued = price != order.price or abs(size) > abs(order.size)
    book.remove(order)
    account.order_margin += each * abs(left) - held
    order.size, order.left, order.price, order.margin_each = size, left, price, each
    order.amend_text = amend_text or order.amend_text
    order.update_time = exchange.now()
    if requeued:
        order.queue = exchange.next_queue()
    exchange.matching.take(account, order, book, price)
    if order.finish_as is None:
        exchange.matching.settle(account, order, book, takes=False)
    return order
