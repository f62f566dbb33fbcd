"""What the venue asks of an order before it takes it: size, price, position and margin.

Decides only; every function raises Refusal with Gate's label and changes nothing. In hedge mode an
order's leg follows from its sign and from whether it reduces: a buy opens long or reduces short.
"""

from __future__ import annotations

from decimal import Decimal

from loadtest.exchanges.gateio.book import Book
from loadtest.exchanges.gateio.contracts import Contract
from loadtest.exchanges.gateio.ledger import Account
from loadtest.exchanges.gateio.orders import NewOrder
from loadtest.exchanges.gateio.positions import ZERO, Leg
from loadtest.exchanges.gateio.refusal import Refusal, invalid


def funded(account: Account) -> None:
    """Raises USER_NOT_FOUND for a user without a futures account."""
    if account.balance is None:
        message = "please transfer funds first to create futures account"
        raise Refusal("USER_NOT_FOUND", message)


def leg_of(account: Account, wanted: NewOrder) -> Leg:
    """The position that the order is for."""
    if not account.dual_mode:
        if wanted.auto_size is not None:
            raise invalid("auto_size", wanted.auto_size)
        return "single"
    if wanted.close:
        raise Refusal("POSITION_DUAL_MODE", "use auto_size to close in dual mode")
    if wanted.auto_size is not None:
        return "dual_long" if wanted.auto_size == "close_long" else "dual_short"
    return "dual_long" if (wanted.size > 0) != wanted.reduce_only else "dual_short"


def signed_size(account: Account, wanted: NewOrder, contract: Contract, leg: Leg) -> Decimal:
    """The signed size asked for, checked against the contract and the position."""
    position = account.size_of(contract.name, leg)
    if wanted.close or wanted.auto_size is not None:
        if not position:
            raise Refusal("POSITION_EMPTY", "empty position")
        return -position
    size = wanted.size
    fits(size, contract)
    if wanted.reduce_only:
        if not position:
            raise Refusal("REDUCE_EXCEEDED", "empty position")
        if position * size > 0:
            raise Refusal("INCREASE_POSITION", "reduce-only order would increase position")
    return size


def fits(size: Decimal, contract: Contract) -> None:
    """A size that the contract has."""
    if size % contract.size_step:
        raise invalid("size", size)
    if abs(size) < contract.order_size_min:
        raise Refusal("SIZE_TOO_SMALL", f"minimum is {contract.order_size_min}")
    if abs(size) > contract.order_size_max:
        raise Refusal("SIZE_TOO_LARGE", f"maximum is {contract.order_size_max}")


def worst_price(wanted: NewOrder, book: Book, buy: bool) -> Decimal:
    """The worst price the order may trade at."""
    contract, mark = book.contract, book.mark
    if wanted.price == 0:
        slip = contract.market_order_slip_ratio if wanted.slip_ratio is None else wanted.slip_ratio
        return mark * (1 + slip) if buy else mark * (1 - slip)
    return limit_price(wanted.price, book)


def limit_price(price: Decimal, book: Book) -> Decimal:
    """A price on the tick and near enough to the mark."""
    if price % book.contract.order_price_round:
        raise invalid("price", price)
    if abs(price - book.mark) > book.contract.order_price_deviate * book.mark:
        raise Refusal("PRICE_TOO_DEVIATED", f"mark price is {book.mark}")
    return price


def reserve(
    account: Account,
    book: Book,
    size: Decimal,
    limit: Decimal,
    leg: Leg,
    marks: dict[str, Decimal],
    *,
    freed: Decimal = ZERO,
) -> Decimal:
    """Margin and taker fee per contract; raises INSUFFICIENT_AVAILABLE. Only opening costs.

    `freed`: margin that the order itself holds already, where it is amended.
    """
    contract = book.contract
    position = account.positions.get((contract.name, leg))
    held = position.size if position else ZERO
    opening = abs(size) - (abs(held) if held * size < 0 else ZERO)
    if opening <= 0:
        return ZERO
    price = min(limit, book.mark) if size > 0 else max(limit, book.mark)
    lever = position.lever if position else account.leverage
    each = price * contract.quanto_multiplier * (1 / lever + contract.taker_fee_rate)
    available = account.available(marks) + freed
    if each * opening > available:
        message = f"need {each * opening:.8f}, available {available:.8f}"
        raise Refusal("INSUFFICIENT_AVAILABLE", message)
    return each * opening / abs(size)
