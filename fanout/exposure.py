"""What an account has at stake, from its positions, open orders and today's results. Pure.

Everything is as bad as it may still become without another order of ours:

- **Reach**: between which lots a position may end, whatever fills and whatever fails. An order
  that opens may fill; one that closes may fill too, but never carries its strategy through zero; a
  close that has not filled yet is not counted on.
- **Together**: what is long of several strategies is added up, and what is short. One's short position
  makes no room for another's long one, for it may be closed at any moment, and no limit stops that.
- **Worth** of a symbol: the larger of the two sides, at the broker's mark or last price.
- **Loss today**: what today's fills realised against the entry prices, and what open positions are
  worth now against theirs. Where the two together are a profit, the loss is nothing. Fees, funding
  and transfers are not in it, and neither is a profit of yesterday that melts: a position counts
  from its entry, not from this morning.
- **Open risk**: what the stops that are set may still lose, from the price now to the stop; of an
  opening order that waits, from its own price. Nothing where no stop is set, and no more than the
  stop says: a market that jumps over it loses more.

What cannot be told (no price, no rate, a fill without a price) is None, and refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_UP, Context, Decimal

import msgspec

from fanout.market import Usage
from fanout.order import OrdType, Protect, Role, Side
from tenancy.protection import StopLoss
from tenancy.values import StrategyID

NOTHING, HUNDRED = Decimal(0), Decimal(100)
EXACT = Context(prec=200)
"""More digits than products of four values of tenancy.values.exact() have: only an inverse rate is rounded."""
INVERSE = Context(prec=60, rounding=ROUND_UP)


class Held(msgspec.Struct, frozen=True):
    """A position of one strategy. `qty`: signed lots."""

    strategy_id: StrategyID
    symbol: str
    qty: Decimal
    avg_px: Decimal | None


class Pending(msgspec.Struct, frozen=True):
    """An order that may fill, or may come to be sent. `lots`: what is not filled of it, > 0."""

    strategy_id: StrategyID
    symbol: str
    side: Side
    lots: Decimal
    ord_type: OrdType
    closes: bool  # reduce-only, or a stop or target of a position
    role: Role = "main"
    price: Decimal | None = None
    stop_px: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    protect: Protect | None = None
    arrival_px: Decimal | None = None


class Realised(msgspec.Struct, frozen=True):
    """Of one symbol today, in price times lots; None: a fill had no price."""

    symbol: str
    amount: Decimal | None


class Book(msgspec.Struct):
    """One account's, of all strategies, at one moment."""

    held: list[Held] = []
    pending: list[Pending] = []
    realised: list[Realised] = []


class Lot(msgspec.Struct, frozen=True):
    """One lot of an instrument, in the account's currency: `point` is what a price of 1 is worth."""

    price: Decimal
    point: Decimal


LotOf = Callable[[str], Lot | None]
"""By symbol; None: unknown instrument, no price, or no rate into the account's currency."""


class Reach(msgspec.Struct, frozen=True):
    """Signed lots. `expected`: once market orders under way have filled, as a plan counts them."""

    expected: Decimal = NOTHING
    low: Decimal = NOTHING
    high: Decimal = NOTHING

    @property
    def long(self) -> Decimal:
        return max(NOTHING, self.high)

    @property
    def short(self) -> Decimal:
        return max(NOTHING, -self.low)


def factor(rates: Mapping[str, Decimal], of: str, to: str) -> Decimal | None:
    """What one unit of a currency is worth in another; None without a rate. An inverse is rounded up."""
    if of == to:
        return Decimal(1)
    rate = rates.get(f"{of}/{to}")
    if rate is not None:
        return rate
    inverse = rates.get(f"{to}/{of}")
    return None if inverse is None else INVERSE.divide(Decimal(1), inverse)


def reach(held: Sequence[Held], pending: Sequence[Pending]) -> dict[tuple[StrategyID, str], Reach]:
    """Of each strategy's position in each symbol."""
    if not pending:  # most accounts at most moments
        return {(p.strategy_id, p.symbol): Reach(p.qty, p.qty, p.qty) for p in held}
    start: dict[tuple[StrategyID, str], Decimal] = {}
    moves: dict[tuple[StrategyID, str], list[Decimal]] = {}
    for position in held:
        start[position.strategy_id, position.symbol] = position.qty
    for order in pending:
        sums = moves.setdefault((order.strategy_id, order.symbol), [NOTHING] * 5)
        buys = order.side == "buy"
        sums[(0 if buys else 1) + (2 if order.closes else 0)] += order.lots
        if order.ord_type == "market" and order.role == "main":
            sums[4] += order.lots if buys else -order.lots
    found: dict[tuple[StrategyID, str], Reach] = {}
    for key in start.keys() | moves.keys():
        qty = start.get(key, NOTHING)
        buys_, sells, closing_buys, closing_sells, under_way = moves.get(key, [NOTHING] * 5)
        found[key] = Reach(
            expected=qty + under_way,
            low=qty - sells - min(closing_sells, max(NOTHING, qty)),
            high=qty + buys_ + min(closing_buys, max(NOTHING, -qty)),
        )
    return found


def usage(
    book: Book,
    strategy: StrategyID,
    symbol: str,
    lot_of: LotOf,
    *,
    orders_last_minute: int = 0,
    money: bool = True,
) -> Usage:
    """What the account has used, for a plan of `strategy` in `symbol`. Not `money`: lots and orders only."""
    reached = reach(book.held, book.pending)
    own = reached.get((strategy, symbol), Reach())
    others = [r for (s, sym), r in reached.items() if sym == symbol and s != strategy]
    return Usage(
        others=sum((r.expected for r in others), NOTHING),
        others_long=sum((r.long for r in others), NOTHING),
        others_short=sum((r.short for r in others), NOTHING),
        may_buy=max(NOTHING, own.high - own.expected),
        may_sell=max(NOTHING, own.expected - own.low),
        worth_elsewhere=worth(reached, lot_of, but=symbol) if money else NOTHING,
        orders_last_minute=orders_last_minute,
        loss_today=loss_today(book, lot_of) if money else NOTHING,
        risk_open=risk_open(book.pending, lot_of) if money else NOTHING,
    )


def worth(
    reached: Mapping[tuple[StrategyID, str], Reach], lot_of: LotOf, *, but: str | None = None
) -> Decimal | None:
    """Of all symbols but one, in the account's currency, each by the larger of its two sides."""
    longs: dict[str, Decimal] = {}
    shorts: dict[str, Decimal] = {}
    for (_, symbol), one in reached.items():
        longs[symbol] = longs.get(symbol, NOTHING) + one.long
        shorts[symbol] = shorts.get(symbol, NOTHING) + one.short
    total = NOTHING
    for symbol in longs.keys() - {but}:
        lots = max(longs[symbol], shorts[symbol])
        if not lots:
            continue
        lot = lot_of(symbol)
        if lot is None:
            return None
        total = EXACT.add(total, EXACT.multiply(lots, EXACT.multiply(lot.price, lot.point)))
    return total


def result_today(book: Book, lot_of: LotOf) -> tuple[Decimal | None, Decimal | None]:
    """(realised, unrealised), signed, in the account's currency; None: cannot tell."""
    return _realised(book.realised, lot_of), _unrealised(book.held, lot_of)


def _realised(results: Iterable[Realised], lot_of: LotOf) -> Decimal | None:
    total = NOTHING
    for one in results:
        if one.amount == 0:
            continue
        lot = lot_of(one.symbol)
        if lot is None or one.amount is None:
            return None
        total = EXACT.add(total, EXACT.multiply(one.amount, lot.point))
    return total


def _unrealised(held: Iterable[Held], lot_of: LotOf) -> Decimal | None:
    total = NOTHING
    for position in held:
        lot = lot_of(position.symbol)
        if lot is None or position.avg_px is None:
            return None
        gain = EXACT.multiply(EXACT.subtract(lot.price, position.avg_px), position.qty)
        total = EXACT.add(total, EXACT.multiply(gain, lot.point))
    return total


def loss_today(book: Book, lot_of: LotOf) -> Decimal | None:
    """≥ 0, in the account's currency."""
    realised, unrealised = result_today(book, lot_of)
    if realised is None or unrealised is None:
        return None
    return max(NOTHING, -EXACT.add(realised, unrealised))


def risk_open(pending: Iterable[Pending], lot_of: LotOf) -> Decimal | None:
    """≥ 0, in the account's currency: what stops may still lose."""
    total = NOTHING
    for order in pending:
        stop = None if order.protect is None or order.closes else order.protect.stop_loss
        if order.role != "stop" and stop is None:
            continue
        lot = lot_of(order.symbol)
        if lot is None:
            return None
        distance = _to_stop(order, lot.price) if stop is None else _risked(order, stop, lot.price)
        if distance is None:
            return None
        at_risk = EXACT.multiply(max(NOTHING, distance), EXACT.multiply(order.lots, lot.point))
        total = EXACT.add(total, at_risk)
    return total


def _to_stop(order: Pending, price: Decimal) -> Decimal | None:
    """From the market to a stop that stands behind a position: a sell stands behind a long one."""
    if order.stop_px is not None:
        away = EXACT.subtract(price, order.stop_px)
        return away if order.side == "sell" else -away
    return _relative(order.trail_amount, order.trail_percent, price)


def _risked(order: Pending, stop: StopLoss, market: Decimal) -> Decimal | None:
    """From where an opening order fills to where its stop will stand."""
    entry = market
    for price in (order.price, order.stop_px):
        if price is not None:
            entry = price
            break
    if stop.stop_price is not None:
        away = EXACT.subtract(entry, stop.stop_price)
        return away if order.side == "buy" else -away
    amount = stop.amount if stop.amount is not None else stop.trail_amount
    percent = stop.percent if stop.percent is not None else stop.trail_percent
    return _relative(amount, percent, entry)


def _relative(amount: Decimal | None, percent: Decimal | None, price: Decimal) -> Decimal | None:
    if amount is not None:
        return amount
    return None if percent is None else EXACT.divide(EXACT.multiply(price, percent), HUNDRED)
