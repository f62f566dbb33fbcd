"""What must pay for an order, and what an account is worth, by the rules of the broker imitated. Pure.

- `carried` (paper's own): all that is held and rests, at its price, within stated equity times leverage.
  The equity is the stated one, less fees.
- `margin` (Gate futures): margin by leverage and taker fee of what is opened, out of what is available.
- `cash` (Gate spot): the whole price, or what is sold, out of what no open order holds back.
- `per_lot` (SinoPac): the stated margin of each lot held after it, by leverage where none is stated; stocks
  the whole price.

The equity of the last three is the stated one, what was earned, and what is unrealised.
`earned`: what came in and went out since the book began: profit, fees, and for cash the assets' prices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import msgspec

from fanout.brokers.paper.rules import Money, Rules
from fanout.order import Order
from fanout.ports import Instrument

ZERO = Decimal(0)
BPS = Decimal(10_000)


class Means(msgspec.Struct, frozen=True):
    """What an account has by its own settings. Without a stated equity nothing opens."""

    stated: Decimal | None
    leverage: Decimal


class Held(msgspec.Struct):
    """A position: `qty` signed lots."""

    qty: Decimal = ZERO
    avg_px: Decimal = ZERO

    def fill(self, lots: Decimal, price: Decimal) -> Decimal:
        """Fold one fill; returns what it earned per unit times lots closed.

        The average moves when the position grows, and starts anew when it turns.
        """
        after, earned = self.qty + lots, ZERO
        if self.qty * lots >= 0:
            self.avg_px = (self.qty * self.avg_px + lots * price) / after
        else:
            closed = min(abs(lots), abs(self.qty)).copy_sign(self.qty)
            earned = closed * (price - (self.avg_px or price))
            if after * self.qty < 0:
                self.avg_px = price
        self.qty = after
        return earned


class Rests(msgspec.Struct, frozen=True):
    """What an open order still holds back. `each`: margin per lot, as reserved when it came."""

    order: Order
    left: Decimal
    each: Decimal


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an account has."""

    means: Means
    earned: Decimal
    held: Mapping[str, Held]
    table: Mapping[str, Instrument]
    rests: Sequence[Rests]
    margins: Mapping[str, Decimal]
    """Of one lot, by symbol or by root."""
    by_mark: bool
    """Positions are worth the mark where there is one; else the last price."""

    @property
    def cash(self) -> Decimal:
        return (self.means.stated or ZERO) + self.earned

    def price(self, symbol: str) -> Decimal:
        seen = self.table.get(symbol)
        price = None if seen is None else seen.reference if self.by_mark else seen.last_price
        return price or self.held[symbol].avg_px

    def unrealised(self) -> Decimal:
        """Of what has an entry price; stocks are worth their price, so theirs is no profit on top."""
        return sum(
            (
                held.qty * (self.price(symbol) - held.avg_px) * seen.multiplier
                for symbol, held, seen in self.listed()
                if held.avg_px and seen.kind != "stock"
            ),
            ZERO,
        )

    def notional(self) -> Decimal:
        """What the positions are worth, without sign."""
        return sum(
            (
                abs(held.qty) * self.price(symbol) * seen.multiplier
                for symbol, held, seen in self.listed()
            ),
            ZERO,
        )

    def listed(self) -> list[tuple[str, Held, Instrument]]:
        """What is held of the table's instruments."""
        return [
            (symbol, held, self.table[symbol])
            for symbol, held in self.held.items()
            if symbol in self.table
        ]

    def lot_margin(self, symbol: str) -> Decimal:
        """Of one lot held; by leverage where nobody stated one."""
        seen = self.table[symbol]
        stated = self.margins.get(symbol) or self.margins.get(seen.underlying or "")
        if stated is not None:
            return stated
        price = seen.reference or ZERO
        return price * seen.multiplier / self.means.leverage


class Cost(msgspec.Struct, frozen=True):
    """`each`: held back per lot while the order rests. `missing`: why it cannot be paid, in words."""

    each: Decimal = ZERO
    missing: str | None = None


def cost(rules: Rules, it: Standing, order: Order, qty: Decimal) -> Cost:
    """Of an order of `qty` lots in an instrument of the table that has a price."""
    return _COSTS[rules.money](rules, it, order, qty)


def worth(rules: Rules, it: Standing) -> tuple[Decimal, Decimal]:
    """Equity, and what of it is available, at least zero."""
    equity, available = _WORTHS[rules.money](it)
    return equity, max(ZERO, available)


# ------------------------------------------------------------------ carried


def _carried(_: Rules, it: Standing, order: Order, qty: Decimal) -> Cost:
    held = _qty(it, order.symbol)
    growth = abs(held + _signed(order, qty)) - abs(held)
    if order.reduce_only or growth <= 0:
        return Cost()
    if it.means.stated is None:
        return Cost(missing="the account has no stated equity")
    seen = it.table[order.symbol]
    assert seen.last_price is not None
    price = seen.last_price
    resting = sum(
        (
            one.order.order_qty * (one.order.price or price) * it.table[one.order.symbol].multiplier
            for one in it.rests
            if one.order.symbol in it.table
        ),
        ZERO,
    )
    needed = it.notional() + resting + growth * (order.price or price) * seen.multiplier
    power = it.means.stated * it.means.leverage
    if needed > power:
        return Cost(missing=f"needs {needed}, stated equity and leverage carry {power}")
    return Cost()


def _stated(it: Standing) -> tuple[Decimal, Decimal]:
    return it.cash, it.cash - it.notional() / it.means.leverage


# ------------------------------------------------------------------ margin


def _margin(rules: Rules, it: Standing, order: Order, qty: Decimal) -> Cost:
    if order.reduce_only:
        return Cost()
    held, signed = _qty(it, order.symbol), _signed(order, qty)
    opening = qty - (abs(held) if held * signed < 0 else ZERO)
    if opening <= 0:
        return Cost()
    seen = it.table[order.symbol]
    mark = seen.reference or ZERO
    limit = order.price if order.ord_type == "limit" and order.price else mark
    price = min(limit, mark) if order.side == "buy" else max(limit, mark)
    each = price * seen.multiplier * (1 / it.means.leverage + rules.taker_fee)
    available = max(ZERO, _margin_worth(it)[1])
    if each * opening > available:
        return Cost(missing=f"need {each * opening:.8f}, available {available:.8f}")
    return Cost(each=each * opening / qty)


def _margin_worth(it: Standing) -> tuple[Decimal, Decimal]:
    equity = it.cash + it.unrealised()
    reserved = sum((one.each * one.left for one in it.rests), ZERO)
    return equity, equity - reserved - it.notional() / it.means.leverage


# ------------------------------------------------------------------ cash


def _cash(rules: Rules, it: Standing, order: Order, qty: Decimal) -> Cost:
    if order.side == "sell":
        there = free(it, order.symbol)
        return Cost() if qty <= there else Cost(missing=f"{there} are available to sell")
    seen = it.table[order.symbol]
    ask = seen.ask or seen.last_price or ZERO
    bound = ask * (1 + rules.bound_bps / BPS)
    price = order.price if order.ord_type == "limit" and order.price else bound
    needed, available = qty * price * seen.multiplier, _cash_worth(it)[1]
    if needed > available:
        return Cost(missing=f"need {needed}, available {available}")
    return Cost(each=price * seen.multiplier)


def free(it: Standing, symbol: str) -> Decimal:
    """Of an asset: held, and not in an open order to sell."""
    selling = (o.left for o in it.rests if o.order.symbol == symbol and o.order.side == "sell")
    return _qty(it, symbol) - sum(selling, ZERO)


def _cash_worth(it: Standing) -> tuple[Decimal, Decimal]:
    reserved = sum((one.each * one.left for one in it.rests if one.order.side == "buy"), ZERO)
    return it.cash + it.notional(), it.cash - reserved


# ------------------------------------------------------------------ per lot


def _per_lot(_: Rules, it: Standing, order: Order, qty: Decimal) -> Cost:
    seen = it.table[order.symbol]
    if seen.kind == "stock":
        price = order.price if order.ord_type == "limit" and order.price else seen.last_price
        needed = qty * (price or ZERO) if order.side == "buy" else ZERO
    else:
        held = _qty(it, order.symbol)
        after = held + _signed(order, qty)
        if abs(after) <= abs(held):
            return Cost()
        others = sum((_lots(it, symbol, one.qty) for symbol, one in it.held.items()), ZERO)
        needed = others - _lots(it, order.symbol, held) + _lots(it, order.symbol, after)
    if needed > it.cash:
        return Cost(missing=f"保證金不足: needs {needed}, has {it.cash}")
    return Cost()


def _lots(it: Standing, symbol: str, qty: Decimal) -> Decimal:
    seen = it.table.get(symbol)
    return ZERO if seen is None or seen.kind == "stock" else abs(qty) * it.lot_margin(symbol)


def _per_lot_worth(it: Standing) -> tuple[Decimal, Decimal]:
    shares = (
        held.qty * it.price(symbol) for symbol, held, seen in it.listed() if seen.kind == "stock"
    )
    used = sum((_lots(it, symbol, held.qty) for symbol, held in it.held.items()), ZERO)
    free_cash = it.cash + it.unrealised()
    return free_cash + sum(shares, ZERO), free_cash - used


_COSTS: Mapping[Money, Callable[[Rules, Standing, Order, Decimal], Cost]] = {
    "carried": _carried,
    "margin": _margin,
    "cash": _cash,
    "per_lot": _per_lot,
}
_WORTHS: Mapping[Money, Callable[[Standing], tuple[Decimal, Decimal]]] = {
    "carried": _stated,
    "margin": _margin_worth,
    "cash": _cash_worth,
    "per_lot": _per_lot_worth,
}


def _qty(it: Standing, symbol: str) -> Decimal:
    held = it.held.get(symbol)
    return held.qty if held is not None else ZERO


def _signed(order: Order, qty: Decimal) -> Decimal:
    return qty if order.side == "buy" else -qty
