"""One pair's order book: users' resting orders, and a market maker around the market price.

By price, then time; the maker's quotes are always the youngest. As `book`, for amounts in base.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import msgspec

from loadtest.exchanges.gateio.spot_orders import SpotOrder
from loadtest.exchanges.gateio.spot_pairs import Pair


class SpotQuote(msgspec.Struct, eq=False):
    """Something to trade against. `order` is None where it is the market maker's; `qty` in base."""

    price: Decimal
    qty: Decimal
    order: SpotOrder | None


class SpotBook:
    """Decides matches; moves no money."""

    def __init__(self, pair: Pair, *, levels: int = 10, level_size: int = 100_000) -> None:
        self.pair = pair
        self.last = pair.first_price
        self.levels = levels
        self.level_size = Decimal(level_size)
        self.resting: list[SpotOrder] = []
        self.quote_around(pair.first_price)

    def quote_around(
        self, price: Decimal, *, levels: int | None = None, level_size: Decimal | None = None
    ) -> None:
        """Move the market price and the maker's quotes with it."""
        self.last = price
        self.levels = self.levels if levels is None else levels
        self.level_size = self.level_size if level_size is None else level_size
        tick, half = self.pair.tick, Decimal("0.5")
        first_ask = (price / tick + half).to_integral_value(ROUND_CEILING) * tick
        first_bid = (price / tick - half).to_integral_value(ROUND_FLOOR) * tick
        self._asks = [first_ask + tick * n for n in range(self.levels)]
        self._bids = [one for n in range(self.levels) if (one := first_bid - tick * n) > 0]

    def opposite(self, *, buy: bool, limit: Decimal) -> list[SpotQuote]:
        """What a taker meets, best first, not beyond `limit`."""
        found = [
            SpotQuote(order.price, order.left, order)
            for order in sorted(self.resting, key=lambda one: one.queue)
            if order.is_buy != buy and order.price is not None
        ]
        found += [
            SpotQuote(price, self.level_size, None) for price in (self._asks if buy else self._bids)
        ]
        # A stable sort: at one price the oldest order is first and the maker last.
        found.sort(key=lambda quote: quote.price if buy else -quote.price)
        return [q for q in found if (q.price <= limit if buy else q.price >= limit)]

    def maker_met(self) -> Iterator[SpotOrder]:
        """Resting orders that the maker has quoted through."""
        for order in list(self.resting):
            assert order.price is not None
            met = (
                bool(self._asks) and self._asks[0] <= order.price
                if order.is_buy
                else bool(self._bids) and self._bids[0] >= order.price
            )
            if met:
                yield order

    def best(self) -> tuple[SpotQuote | None, SpotQuote | None]:
        """Best bid and best ask."""
        bids = self.opposite(buy=False, limit=Decimal(0))
        asks = self.opposite(buy=True, limit=Decimal("Infinity"))
        return bids[0] if bids else None, asks[0] if asks else None
