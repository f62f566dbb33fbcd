"""One contract's order book: users' resting orders, and a market maker around the mark price.

Matching is by price, then time. The maker quotes `levels` prices on each side, one tick apart,
`level_size` contracts on each, and renews its quotes after every trade and every move of the mark:
its quotes are therefore always the youngest, and a user's order at the same price goes first.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import msgspec

from loadtest.exchanges.gateio.contracts import Contract
from loadtest.exchanges.gateio.orders import Order


class Quote(msgspec.Struct, eq=False):
    """Something to trade against. `order` is None where it is the market maker's."""

    price: Decimal
    qty: Decimal
    order: Order | None


Level = tuple[Decimal, Decimal]  # price and contracts
_Resting = tuple[Decimal, int, Order]  # the key sorts best price first, then oldest


class Book:
    """Resting orders of one contract and the maker's quotes. Decides matches; moves no money."""

    def __init__(self, contract: Contract, *, levels: int = 10, level_size: int = 100_000) -> None:
        self.contract = contract
        self.last = contract.first_price
        self._bids: list[_Resting] = []
        self._asks: list[_Resting] = []
        self.levels = levels
        self.level_size = Decimal(level_size)
        self.quote_around(contract.first_price)

    def quote_around(
        self, mark: Decimal, *, levels: int | None = None, level_size: Decimal | None = None
    ) -> None:
        """Move the mark price, the last price and the maker's quotes with it."""
        self.mark = mark
        self.levels = self.levels if levels is None else levels
        self.level_size = self.level_size if level_size is None else level_size
        self.last = mark
        tick = self.contract.order_price_round
        first_ask = (mark / tick + Decimal("0.5")).to_integral_value(ROUND_CEILING) * tick
        first_bid = (mark / tick - Decimal("0.5")).to_integral_value(ROUND_FLOOR) * tick
        self._maker_asks = [first_ask + tick * n for n in range(self.levels)]
        self._maker_bids = [
            price for n in range(self.levels) if (price := first_bid - tick * n) > 0
        ]

    def price_of(self, kind: int) -> Decimal:
        """0 the last price, 1 the mark, 2 the index (which is the mark here)."""
        return self.last if kind == 0 else self.mark

    # ------------------------------------------------------------------ resting orders

    def rest(self, order: Order) -> None:
        insort(self._side(order), self._entry(order))
        order.resting = True

    def remove(self, order: Order) -> None:
        side = self._side(order)
        at = bisect_left(side, self._entry(order))
        assert side[at][2] is order
        del side[at]
        order.resting = False

    def resting(self) -> Iterator[Order]:
        for side in (self._bids, self._asks):
            for entry in side:
                yield entry[2]

    def _side(self, order: Order) -> list[_Resting]:
        return self._bids if order.is_buy else self._asks

    @staticmethod
    def _entry(order: Order) -> _Resting:
        return (-order.price if order.is_buy else order.price, order.queue, order)

    # ------------------------------------------------------------------ matching

    def opposite(self, *, buy: bool, limit: Decimal) -> Iterator[Quote]:
        """What a taker meets, best first, not beyond `limit`.

        The resting side may change only by the removal of the order that was yielded last.
        """
        maker = iter(self._maker_asks if buy else self._maker_bids)
        resting = self._asks if buy else self._bids
        maker_price = next(maker, None)
        at = 0
        while True:
            order = resting[at][2] if at < len(resting) else None
            if order is not None and (maker_price is None or _at_least(order, maker_price, buy)):
                if _beyond(order.price, limit, buy):
                    return
                yield Quote(order.price, abs(order.left), order)
                if at < len(resting) and resting[at][2] is order:
                    at += 1
            elif maker_price is not None:
                if _beyond(maker_price, limit, buy):
                    return
                yield Quote(maker_price, self.level_size, None)
                maker_price = next(maker, None)
            else:
                return

    def can_fill(self, qty: Decimal, *, buy: bool, limit: Decimal) -> bool:
        """Is there enough within the limit for a fill-or-kill order?"""
        for quote in self.opposite(buy=buy, limit=limit):
            qty -= quote.qty
            if qty <= 0:
                return True
        return False

    def crosses(self, *, buy: bool, limit: Decimal) -> bool:
        return next(self.opposite(buy=buy, limit=limit), None) is not None

    def maker_meets(self, order: Order) -> bool:
        """Has the maker quoted through this resting order?"""
        if order.is_buy:
            return bool(self._maker_asks) and self._maker_asks[0] <= order.price
        return bool(self._maker_bids) and self._maker_bids[0] >= order.price

    def depth(self, levels: int) -> tuple[list[Level], list[Level]]:
        """Bids and asks, best first, one row a price."""
        return (
            _levels(self.opposite(buy=False, limit=Decimal(0)), levels),
            _levels(self.opposite(buy=True, limit=Decimal("Infinity")), levels),
        )

    def best(self) -> tuple[Quote | None, Quote | None]:
        """Best bid and best ask."""
        bid = next(self.opposite(buy=False, limit=Decimal(0)), None)
        return bid, next(self.opposite(buy=True, limit=Decimal("Infinity")), None)


def _at_least(order: Order, maker_price: Decimal, buy: bool) -> bool:
    """Is the resting order as good for the taker as the maker's price, or better?"""
    return order.price <= maker_price if buy else order.price >= maker_price


def _beyond(price: Decimal, limit: Decimal, buy: bool) -> bool:
    return price > limit if buy else price < limit


def _levels(quotes: Iterator[Quote], most: int) -> list[Level]:
    found: dict[Decimal, Decimal] = {}
    for quote in quotes:
        if quote.price not in found and len(found) == most:
            break
        found[quote.price] = found.get(quote.price, Decimal(0)) + quote.qty
    return list(found.items())
