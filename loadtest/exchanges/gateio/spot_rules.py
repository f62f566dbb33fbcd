"""What a spot order must be before anything is done about it. Pure; each raises Refusal."""

from __future__ import annotations

from decimal import Decimal

from loadtest.exchanges.gateio.positions import ZERO
from loadtest.exchanges.gateio.refusal import Refusal
from loadtest.exchanges.gateio.spot_book import SpotBook, SpotQuote
from loadtest.exchanges.gateio.spot_orders import NewSpotOrder
from loadtest.exchanges.gateio.spot_pairs import Pair


def limit_of(wanted: NewSpotOrder, book: SpotBook) -> Decimal:
    pair = book.pair
    if wanted.price is None:
        slip = pair.slippage if wanted.is_buy else -pair.slippage
        return book.last * (1 + slip)
    if wanted.price % pair.tick:
        raise Refusal("INVALID_PRECISION", f"price has more than {pair.precision} decimals")
    if abs(wanted.price - book.last) > pair.deviation * book.last:
        raise Refusal("INVALID_PARAM_VALUE", "price is too far from the market")
    return wanted.price


def check_size(wanted: NewSpotOrder, pair: Pair) -> None:
    if not wanted.in_quote:
        if wanted.amount % pair.step:
            digits = pair.amount_precision
            raise Refusal("INVALID_PRECISION", f"amount has more than {digits} decimals")
        if pair.min_base_amount is not None and wanted.amount < pair.min_base_amount:
            raise too_small(wanted.amount, pair.min_base_amount, pair.base)
        if pair.max_base_amount is not None and wanted.amount > pair.max_base_amount:
            raise Refusal("AMOUNT_TOO_MUCH", f"at most {pair.max_base_amount} {pair.base}")
    worth = wanted.amount
    if not wanted.in_quote:
        worth *= pair.first_price if wanted.price is None else wanted.price
    if pair.min_quote_amount is not None and worth < pair.min_quote_amount:
        raise too_small(worth, pair.min_quote_amount, pair.quote)


def there(wanted: NewSpotOrder, quotes: list[SpotQuote]) -> Decimal:
    """How much of the order the quotes could fill, in the unit of its amount."""
    return sum((q.qty * q.price if wanted.in_quote else q.qty for q in quotes), ZERO)


def too_small(size: Decimal, least: Decimal, currency: str) -> Refusal:
    return Refusal(
        "INVALID_PARAM_VALUE",
        f"Your order size {size:f} {currency} is too small. The minimum is {least} {currency}",
    )
