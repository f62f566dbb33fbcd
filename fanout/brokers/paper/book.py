"""One account's paper book: what an order becomes, given a price. No I/O, no clock.

Rules, after Gate's futures so that paper and live refuse the same orders:

- unknown symbol, quantity off the lot step, below the minimum or above the maximum, worth less than
  the minimum notional (but to reduce), price off the tick, a ClOrdID used before: rejected;
- a reduce-only order without an opposite position is rejected, a larger one fills up to the
  position and the rest is cancelled;
- the position after the order (resting orders counted as if filled) must be carried by
  stated equity times leverage, unless the order only reduces: else rejected for funds;
- a market order fills at the reference price, worse by the slippage; a limit order that crosses
  fills at the reference price, because that is better than its limit; otherwise ioc and fok are
  cancelled and the rest rests until the price reaches it, and then fills at its limit;
- a stop, stop limit or trailing stop rests until the price that the book is shown reaches it
  (fanout/stops_rules.py), and is then a market order, or a limit order at its price.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from fanout.order import FINAL, Order, OrdState, TimeInForce
from fanout.ports import (
    Acked,
    BrokerPosition,
    Instrument,
    Outcome,
    Rejected,
    RejectKind,
    Report,
)
from fanout.stops_rules import Watch, see, watch_of

BPS = Decimal(10_000)
TIMES_IN_FORCE: dict[str, dict[str, TimeInForce]] = {
    "market": {"day": "ioc", "gtc": "ioc", "ioc": "ioc", "fok": "fok"},
    "limit": {"day": "gtc", "gtc": "gtc", "ioc": "ioc", "fok": "fok"},
    "stop": {"day": "gtc", "gtc": "gtc"},
    "stop_limit": {"day": "gtc", "gtc": "gtc"},
    "trailing_stop": {"day": "gtc", "gtc": "gtc"},
}
"""As at Gate: a price at any hour, no auctions, and a day without an end."""
PLAIN = frozenset({"market", "limit"})
CONDITIONAL = frozenset({"stop", "stop_limit", "trailing_stop"})
ORD_TYPES = PLAIN | CONDITIONAL


class _Held(msgspec.Struct):
    qty: Decimal = Decimal(0)  # signed lots
    avg_px: Decimal = Decimal(0)

    def fill(self, lots: Decimal, price: Decimal) -> None:
        """Fold one fill: the average moves when the position grows, starts anew when it turns."""
        after = self.qty + lots
        if self.qty * lots >= 0:
            self.avg_px = (self.qty * self.avg_px + lots * price) / after
        elif after * self.qty < 0:
            self.avg_px = price
        self.qty = after


class PaperBook:
    """Positions and orders of one account."""

    def __init__(
        self,
        held: dict[str, tuple[Decimal, Decimal | None]],
        ord_types: frozenset[str] = ORD_TYPES,
    ) -> None:
        """`held`: signed lots and average price by symbol, as remembered from before."""
        self._ord_types = ord_types
        self._waiting: dict[str, Watch] = {}  # conditional orders, by ClOrdID
        self._slippage_bps = Decimal(0)
        self._held = {
            symbol: _Held(qty=qty, avg_px=avg_px or Decimal(0))
            for symbol, (qty, avg_px) in held.items()
        }
        self._orders: dict[str, Order] = {}
        self._reports: dict[str, Report] = {}
        self._count = 0

    def place(
        self,
        order: Order,
        table: dict[str, Instrument],
        *,
        buying_power: Decimal | None,
        slippage_bps: Decimal,
        now: datetime,
    ) -> Outcome:
        """Take or refuse the order; what can fill fills at once."""
        instrument = table.get(order.symbol)
        if instrument is None:
            return _no("CONTRACT_NOT_FOUND", "instrument", f"no contract {order.symbol}")
        known = TIMES_IN_FORCE.get(order.ord_type, {})
        if order.ord_type not in self._ord_types or order.time_in_force not in known:
            return _no("unsupported_order", "other", f"{order.ord_type} {order.time_in_force}")
        self._slippage_bps = slippage_bps
        price = instrument.last_price
        if price is None:
            return _no("NO_PRICE", "price", f"{order.symbol} has no reference price")
        refusal = (
            self._duplicate(order)
            or _bad_size(order, instrument)
            or _bad_price(order, instrument)
            or _bad_worth(order, instrument, price)
            or self._bad_reduction(order)
            or self._too_dear(order, table, price, buying_power)
        )
        return refusal or Acked(report=self._enter(order, instrument, price, now))

    def cancel(self, cl_ord_id: str, now: datetime) -> Report | None:
        """The cancelled order, or None where it is final or not there."""
        order, seen = self._orders.get(cl_ord_id), self._reports.get(cl_ord_id)
        if order is None or seen is None or seen.ord_status in FINAL:
            return None
        self._waiting.pop(cl_ord_id, None)
        return self._tell(order, seen.cum_qty, seen.avg_px, OrdState.CANCELED, "cancelled", now)

    def meet(self, table: dict[str, Instrument], now: datetime) -> None:
        """Resting orders that today's prices reach fill at their limit."""
        for seen in self.resting():
            order = self._orders[seen.cl_ord_id]
            instrument = table.get(order.symbol)
            if instrument is None or instrument.last_price is None:
                continue
            if seen.cl_ord_id in self._waiting:
                self._watch(order, instrument, instrument.last_price, now)
            elif order.price is not None and _crosses(order, instrument.last_price):
                self._fill(order, order.price, now)

    @property
    def waits(self) -> bool:
        """Whether a conditional order waits for a price: the book wants to be shown every one."""
        return bool(self._waiting)

    def find(self, cl_ord_id: str) -> Report | None:
        return self._reports.get(cl_ord_id)

    def resting(self) -> list[Report]:
        return [seen for seen in self._reports.values() if seen.ord_status not in FINAL]

    def positions(self, table: dict[str, Instrument]) -> list[BrokerPosition]:
        return [
            BrokerPosition(
                symbol=symbol,
                qty=held.qty,
                avg_px=held.avg_px or None,
                unrealised_pnl=_pnl(held, table.get(symbol)),
            )
            for symbol, held in self._held.items()
            if held.qty
        ]

    def notional(self, table: dict[str, Instrument]) -> Decimal:
        """What the positions are worth, without sign, in the instruments' currency."""
        return sum(
            (
                abs(held.qty) * (instrument.last_price or held.avg_px) * instrument.multiplier
                for symbol, held in self._held.items()
                if (instrument := table.get(symbol)) is not None
            ),
            Decimal(0),
        )

    # -------------------------------------------------------------- refusals

    def _duplicate(self, order: Order) -> Rejected | None:
        if order.cl_ord_id in self._reports:
            return _no("DUPLICATE_ID", "duplicate_id", f"{order.cl_ord_id} was used before")
        return None

    def _bad_reduction(self, order: Order) -> Rejected | None:
        if not order.reduce_only or self._reducible(order):
            return None
        if self._qty(order.symbol):
            return _no("INCREASE_POSITION", "risk", "reduce-only would increase the position")
        return _no("REDUCE_EXCEEDED", "risk", "empty position")

    def _too_dear(
        self,
        order: Order,
        table: dict[str, Instrument],
        price: Decimal,
        buying_power: Decimal | None,
    ) -> Rejected | None:
        held = self._qty(order.symbol)
        growth = abs(held + _signed(order)) - abs(held)
        if order.reduce_only or growth <= 0:
            return None
        if buying_power is None:
            return _no("INSUFFICIENT_AVAILABLE", "funds", "the account has no stated equity")
        multiplier = table[order.symbol].multiplier
        resting = sum(
            (
                self._orders[seen.cl_ord_id].order_qty
                * (self._orders[seen.cl_ord_id].price or price)
                * table[self._orders[seen.cl_ord_id].symbol].multiplier
                for seen in self.resting()
                if self._orders[seen.cl_ord_id].symbol in table
            ),
            Decimal(0),
        )
        needed = self.notional(table) + resting + growth * (order.price or price) * multiplier
        if needed > buying_power:
            text = f"needs {needed}, stated equity and leverage carry {buying_power}"
            return _no("INSUFFICIENT_AVAILABLE", "funds", text)
        return None

    # -------------------------------------------------------------- fills

    def _enter(self, order: Order, instrument: Instrument, price: Decimal, now: datetime) -> Report:
        self._count += 1
        self._orders[order.cl_ord_id] = order
        if order.ord_type in CONDITIONAL:
            self._waiting[order.cl_ord_id] = watch_of(order)
            self._tell(order, Decimal(0), None, OrdState.NEW, "", now)
            self._watch(order, instrument, price, now)
            return self._reports[order.cl_ord_id]
        if order.ord_type == "market":
            return self._at_market(order, price, now)
        if _crosses(order, price):
            return self._fill(order, price, now)
        if order.time_in_force in ("ioc", "fok"):
            return self._tell(order, Decimal(0), None, OrdState.CANCELED, "ioc", now)
        return self._tell(order, Decimal(0), None, OrdState.NEW, "", now)

    def _at_market(self, order: Order, price: Decimal, now: datetime) -> Report:
        worse = price * self._slippage_bps / BPS
        return self._fill(order, price + worse if order.side == "buy" else price - worse, now)

    def _watch(self, order: Order, instrument: Instrument, price: Decimal, now: datetime) -> None:
        """Show a conditional order the price; reached, it is a market or a limit order from now on."""
        watch, reached = see(self._waiting[order.cl_ord_id], price, instrument)
        self._waiting[order.cl_ord_id] = watch
        if not reached:
            return
        del self._waiting[order.cl_ord_id]
        if order.ord_type != "stop_limit":
            self._at_market(order, price, now)
        elif _crosses(order, price):
            self._fill(order, price, now)

    def _fill(self, order: Order, price: Decimal, now: datetime) -> Report:
        lots = (
            min(order.order_qty, self._reducible(order)) if order.reduce_only else order.order_qty
        )
        if lots:
            held = self._held.setdefault(order.symbol, _Held())
            held.fill(lots if order.side == "buy" else -lots, price)
        whole = lots == order.order_qty
        state, text = (OrdState.FILLED, "filled") if whole else (OrdState.CANCELED, "reduce_only")
        return self._tell(order, lots, price if lots else None, state, text, now)

    def _tell(
        self,
        order: Order,
        cum_qty: Decimal,
        avg_px: Decimal | None,
        state: OrdState,
        text: str,
        now: datetime,
    ) -> Report:
        known = self._reports.get(order.cl_ord_id)
        broker_order_id = known.broker_order_id if known else f"paper-{self._count}"
        facts = {
            "id": broker_order_id,
            "status": state.value,
            "cum_qty": str(cum_qty),
            "avg_px": None if avg_px is None else str(avg_px),
            "text": text,
        }
        report = Report(
            cl_ord_id=order.cl_ord_id,
            broker_order_id=broker_order_id,
            ord_status=state,
            cum_qty=cum_qty,
            avg_px=avg_px,
            text=text,
            transact_time=now,
            raw=msgspec.json.encode(facts),
        )
        self._reports[order.cl_ord_id] = report
        return report

    def _qty(self, symbol: str) -> Decimal:
        held = self._held.get(symbol)
        return held.qty if held else Decimal(0)

    def _reducible(self, order: Order) -> Decimal:
        """How many lots of the opposite side are held."""
        qty = self._qty(order.symbol)
        return max(Decimal(0), -qty if order.side == "buy" else qty)


def _no(code: str, kind: RejectKind, text: str) -> Rejected:
    return Rejected(code=code, kind=kind, text=text)


def _signed(order: Order) -> Decimal:
    return order.order_qty if order.side == "buy" else -order.order_qty


def _crosses(order: Order, price: Decimal) -> bool:
    assert order.price is not None
    return order.price >= price if order.side == "buy" else order.price <= price


def _bad_size(order: Order, instrument: Instrument) -> Rejected | None:
    if order.order_qty < instrument.min_qty:
        return _no("SIZE_TOO_SMALL", "size", f"{order.order_qty} is below {instrument.min_qty}")
    if order.order_qty > instrument.max_qty:
        return _no("SIZE_TOO_LARGE", "size", f"{order.order_qty} is above {instrument.max_qty}")
    if order.order_qty % instrument.lot_step:
        text = f"{order.order_qty} is no multiple of {instrument.lot_step}"
        return _no("INVALID_PARAM_VALUE", "size", text)
    return None


def _bad_price(order: Order, instrument: Instrument) -> Rejected | None:
    prices = []
    if order.ord_type in ("limit", "stop_limit"):
        prices.append(order.price)
    if order.ord_type in ("stop", "stop_limit"):
        prices.append(order.stop_px)
    for price in prices:
        if price is None or price <= 0:
            return _no("INVALID_PARAM_VALUE", "price", f"{price} is no price above 0")
        tick = instrument.tick_at(price)
        if price % tick:
            text = f"{price} is no positive multiple of {tick}"
            return _no("INVALID_PARAM_VALUE", "price", text)
    trails = order.trail_amount is not None or order.trail_percent is not None
    if order.ord_type == "trailing_stop" and not trails:
        return _no("INVALID_PARAM_VALUE", "price", "a trailing stop needs a distance")
    return None


def _bad_worth(order: Order, instrument: Instrument, price: Decimal) -> Rejected | None:
    worth = order.order_qty * (order.price or price) * instrument.multiplier
    if order.reduce_only or worth >= instrument.min_notional:
        return None
    text = f"worth {worth} {instrument.currency}, the least is {instrument.min_notional}"
    return _no("ORDER_VALUE_TOO_SMALL", "size", text)


def _pnl(held: _Held, instrument: Instrument | None) -> Decimal | None:
    if instrument is None or instrument.last_price is None or not held.avg_px:
        return None
    return held.qty * (instrument.last_price - held.avg_px) * instrument.multiplier
