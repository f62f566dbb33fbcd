"""One account's paper book: what an order becomes, given a price. No I/O, no clock.

What is refused and what must pay for it: refusals.py and money.py, by the rules of paper's own or of
the broker imitated (rules.py). What is taken:

- a market order fills at the price, worse by the slippage; a limit order that crosses fills at the
  price, because that is better than its limit; otherwise ioc and fok are cancelled and the rest rests
  until the price reaches it, and then fills at its limit. *The price* is the reference price; where a
  broker is imitated that has quotes, the best ask for who buys and the best bid for who sells;
- a reduce-only order fills up to the position, and the rest is cancelled;
- a stop, stop limit or trailing stop rests until the price that the book is shown reaches it
  (fanout/stops_rules.py), and is then a market order, or a limit order at its price;
- with a share or a liquidity (`Filling`) an order gets only so much of each price it is shown: what
  takes at once is cut off there, what rests gets the next part at the next price.

Where ClOrdIDs are not unique a later order hides an earlier one, which is then found by its broker's id.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_FLOOR, Decimal

import msgspec

from fanout.brokers.paper import money
from fanout.brokers.paper.entry import Entry, Filling
from fanout.brokers.paper.money import BPS, ZERO, Held, Means, Rests, Standing
from fanout.brokers.paper.refusals import Sight, refusal, takes
from fanout.brokers.paper.rules import OWN, Rules
from fanout.order import FINAL, Order, OrdState
from fanout.ports import Acked, BrokerPosition, Instrument, Outcome, Report
from fanout.stops_rules import see, watch_of

PLAIN = frozenset({"market", "limit"})
CONDITIONAL = frozenset({"stop", "stop_limit", "trailing_stop"})
ORD_TYPES = PLAIN | CONDITIONAL


class PaperBook:
    """Positions and orders of one account."""

    def __init__(
        self,
        held: dict[str, tuple[Decimal, Decimal | None]],
        ord_types: frozenset[str] = ORD_TYPES,
        *,
        rules: Rules = OWN,
        filling: Filling | None = None,
        margins: dict[str, Decimal] | None = None,
    ) -> None:
        """`held`: signed lots and average price by symbol, as remembered from before."""
        self._ord_types = ord_types
        self._rules = rules
        self._filling = filling or Filling()
        self._margins = margins or {}
        self._held = {
            symbol: Held(qty=qty, avg_px=avg_px or ZERO) for symbol, (qty, avg_px) in held.items()
        }
        self._unpaid = set(held)  # bought before this book, so their price is not off its cash yet
        self._earned = ZERO
        self._named: dict[str, Entry] = {}  # by ClOrdID: the latest of that name
        self._known: dict[str, Entry] = {}  # all, by the id that they were given here
        self._live: dict[str, Entry] = {}  # what is open, likewise
        self._used: set[str] = set()
        self._count = 0

    def place(
        self, order: Order, table: dict[str, Instrument], *, means: Means, now: datetime
    ) -> Outcome:
        """Take or refuse the order; what can fill fills at once."""
        self._pay_before(table)
        instrument = table.get(order.symbol)
        qty = self._cut(order, instrument, means, table)
        spent = money.Cost()

        def short() -> str | None:
            nonlocal spent
            spent = money.cost(self._rules, self.standing(means, table), order, qty)
            return spent.missing

        found = refusal(
            self._rules,
            Sight(
                order=order,
                instrument=instrument,
                ord_types=self._ord_types,
                qty=qty,
                held=self._qty(order.symbol),
                used=self._rules.unique_client_ids and order.cl_ord_id in self._used,
                open_count=sum(one.order.symbol == order.symbol for one in self._open()),
                fills_whole=instrument is not None and self._fills_whole(order, instrument, qty),
                short=short,
            ),
        )
        if found is not None:
            refused, check = found
            if check in ("inventory", "funds") and self._rules.one_in_flight:
                self._used.add(order.cl_ord_id)  # it had left when the exchange refused it
            return refused
        assert instrument is not None
        return Acked(report=self._enter(order, instrument, qty, spent.each, now))

    def cancel(self, order: Order, now: datetime) -> Report | None:
        """The cancelled order, or None where it is final or not there."""
        entry = self._entry(order)
        if entry is None or not entry.is_open:
            return None
        return self._tell(entry, OrdState.CANCELED, "cancelled", now)

    def meet(self, table: dict[str, Instrument], now: datetime) -> None:
        """Resting orders that today's prices reach fill at their limit."""
        self._pay_before(table)
        for entry in self._open():
            instrument = table.get(entry.order.symbol)
            if instrument is None or instrument.last_price is None or not entry.is_open:
                continue
            if entry.watch is not None:
                self._watch(entry, instrument, now)
            elif entry.order.ord_type in ("market", "stop", "trailing_stop"):
                self._at_market(entry, instrument, now)
            elif entry.order.price is not None and self._crosses(entry.order, instrument):
                self._fill(entry, instrument, entry.order.price, now, taker=False)

    @property
    def waits(self) -> bool:
        """Whether a conditional order waits for a price: the book wants to be shown every one."""
        return any(entry.watch is not None for entry in self._open())

    def find(self, order: Order) -> Report | None:
        entry = self._entry(order)
        return entry.report if entry is not None else None

    def resting(self) -> list[Report]:
        return [entry.report for entry in self._open() if entry.report is not None]

    def positions(self, table: dict[str, Instrument]) -> list[BrokerPosition]:
        """Of an asset whole steps alone; under the least amount it is dust."""
        rows = []
        for symbol, held in self._held.items():
            qty, seen = held.qty, table.get(symbol)
            if self._rules.money == "cash" and seen is not None:
                qty = _on_step(qty, seen.lot_step)
                qty = qty if qty >= seen.min_qty else ZERO
            if qty:
                pnl = _pnl(held, seen)
                avg_px = held.avg_px or None
                rows.append(
                    BrokerPosition(symbol=symbol, qty=qty, avg_px=avg_px, unrealised_pnl=pnl)
                )
        return rows

    def worth(self, table: dict[str, Instrument], means: Means) -> tuple[Decimal, Decimal]:
        """Equity, and what of it is available."""
        self._pay_before(table)
        return money.worth(self._rules, self.standing(means, table))

    def standing(self, means: Means, table: dict[str, Instrument]) -> Standing:
        """All of it, for money.py."""
        return Standing(
            means=means,
            earned=self._earned,
            held=self._held,
            table=table,
            rests=[Rests(one.order, one.left, one.each) for one in self._open()],
            margins=self._margins,
            by_mark=self._rules.quotes,
        )

    # -------------------------------------------------------------- before an order is in

    def _pay_before(self, table: dict[str, Instrument]) -> None:
        """What cash was spent on before this book: at its entry price, or at today's where none is known."""
        for symbol in [one for one in self._unpaid if one in table]:
            self._unpaid.discard(symbol)
            held, seen = self._held[symbol], table[symbol]
            if self._pays_whole(seen):
                self._earned -= (
                    held.qty * (held.avg_px or seen.last_price or ZERO) * seen.multiplier
                )

    def _pays_whole(self, seen: Instrument) -> bool:
        return self._rules.money == "cash" or (
            self._rules.money == "per_lot" and seen.kind == "stock"
        )

    def _cut(
        self, order: Order, seen: Instrument | None, means: Means, table: dict[str, Instrument]
    ) -> Decimal:
        if not (order.reduce_only and self._rules.cuts) or seen is None:
            return order.order_qty
        there = self._reducible(order)
        if self._rules.money == "cash" and order.side == "sell":
            there = min(there, money.free(self.standing(means, table), order.symbol))
        return _on_step(min(order.order_qty, max(ZERO, there)), seen.lot_step)

    def _fills_whole(self, order: Order, seen: Instrument, qty: Decimal) -> bool:
        if seen.last_price is None or (
            order.ord_type == "limit" and order.price is not None and not self._crosses(order, seen)
        ):
            return False
        return self._portion(qty, seen) == qty

    # -------------------------------------------------------------- fills

    def _enter(
        self, order: Order, seen: Instrument, qty: Decimal, each: Decimal, now: datetime
    ) -> Report:
        self._count += 1
        entry = Entry(
            broker_order_id=f"paper-{self._count}",
            order=order,
            qty=qty,
            step=seen.lot_step,
            each=each,
        )
        self._named[order.cl_ord_id] = self._known[entry.broker_order_id] = entry
        self._used.add(order.cl_ord_id)
        report = self._tell(entry, OrdState.NEW, "", now)
        if order.ord_type in CONDITIONAL:
            entry.watch = watch_of(order)
            self._watch(entry, seen, now)
        elif order.time_in_force == "fok" and not self._fills_whole(order, seen, qty):
            self._tell(entry, OrdState.CANCELED, "fok", now)
        elif order.ord_type == "market":
            self._at_market(entry, seen, now)
        elif self._crosses(order, seen):
            self._fill(entry, seen, self._touch(order, seen), now, taker=True)
        elif takes(self._rules, order):
            self._tell(entry, OrdState.CANCELED, "ioc", now)
        return entry.report or report

    def _at_market(self, entry: Entry, seen: Instrument, now: datetime) -> None:
        price = self._touch(entry.order, seen)
        worse = price * self._filling.slippage_bps / BPS
        price = price + worse if entry.order.side == "buy" else price - worse
        self._fill(entry, seen, price, now, taker=True)

    def _watch(self, entry: Entry, seen: Instrument, now: datetime) -> None:
        """Show a conditional order the price; reached, it is a market or a limit order from now on."""
        assert entry.watch is not None
        assert seen.last_price is not None
        entry.watch, reached = see(entry.watch, seen.last_price, seen)
        if not reached:
            return
        entry.watch = None
        if entry.order.ord_type != "stop_limit":
            self._at_market(entry, seen, now)
        elif self._crosses(entry.order, seen):
            self._fill(entry, seen, self._touch(entry.order, seen), now, taker=True)

    def _fill(
        self, entry: Entry, seen: Instrument, price: Decimal, now: datetime, *, taker: bool
    ) -> None:
        """As much as this price gives; then it rests on, or is done."""
        if entry.filled_at is not None and seen.as_of <= entry.filled_at:
            return  # it had its part of this price
        entry.filled_at = seen.as_of
        may = (
            min(entry.left, self._reducible(entry.order)) if entry.order.reduce_only else entry.left
        )
        lots = self._portion(may, seen)
        if lots:
            self._trade(entry, seen, lots, price, taker=taker)
        order = entry.order
        if not entry.left:
            whole = entry.qty == order.order_qty
            state, text = (
                (OrdState.FILLED, "filled") if whole else (OrdState.CANCELED, "reduce_only")
            )
        elif order.reduce_only and not self._reducible(order):
            state, text = OrdState.CANCELED, "reduce_only"
        elif takes(self._rules, order):
            state, text = OrdState.CANCELED, "ioc"
        else:
            state, text = (OrdState.PARTIALLY_FILLED if entry.gross else OrdState.NEW), ""
        self._tell(entry, state, text, now)
        if self._rules.sweeps and lots:
            self._sweep(order.symbol, now)

    def _trade(
        self, entry: Entry, seen: Instrument, lots: Decimal, price: Decimal, *, taker: bool
    ) -> None:
        rate = self._filling.taker_fee if taker else self._filling.maker_fee
        buys, value = entry.order.side == "buy", lots * price * seen.multiplier
        in_kind = self._rules.fee_in_kind and buys
        got = lots * (1 - rate) if in_kind else lots
        fee = ZERO if in_kind else value * rate
        held = self._held.setdefault(entry.order.symbol, Held())
        profit = held.fill(got if buys else -got, price) * seen.multiplier
        if self._rules.money == "carried":
            profit = ZERO
        elif self._pays_whole(seen):
            profit = -value if buys else value
        self._earned += profit - fee
        entry.gross += lots
        entry.net += got
        entry.worth += lots * price

    def _sweep(self, symbol: str, now: datetime) -> None:
        for one in self._open():
            ours = one.order.symbol == symbol and one.order.reduce_only
            if ours and not self._reducible(one.order):
                self._tell(one, OrdState.CANCELED, "reduce_only", now)

    def _portion(self, may: Decimal, seen: Instrument) -> Decimal:
        """Of what may fill, what one price gives: the share in whole steps, at least one."""
        if self._filling.share == 1 and self._filling.liquidity is None:
            return may
        part = max(_on_step(may * self._filling.share, seen.lot_step), seen.lot_step)
        if self._filling.liquidity is not None:
            part = min(part, _on_step(self._filling.liquidity, seen.lot_step))
        return min(may, part)

    def _tell(self, entry: Entry, state: OrdState, text: str, now: datetime) -> Report:
        if state in FINAL:
            entry.watch = None
            self._live.pop(entry.broker_order_id, None)
        else:
            self._live[entry.broker_order_id] = entry
        cum_qty, avg_px = entry.net, entry.worth / entry.gross if entry.gross else None
        if self._rules.fee_in_kind:
            cum_qty = _on_step(cum_qty, entry.step)
        facts = {
            "id": entry.broker_order_id,
            "status": state.value,
            "cum_qty": str(cum_qty),
            "avg_px": None if avg_px is None else str(avg_px),
            "text": text,
        }
        entry.report = Report(
            cl_ord_id=entry.order.cl_ord_id,
            broker_order_id=entry.broker_order_id,
            ord_status=state,
            cum_qty=cum_qty,
            avg_px=avg_px,
            text=text,
            transact_time=now,
            raw=msgspec.json.encode(facts),
        )
        return entry.report

    # -------------------------------------------------------------- looking

    def _open(self) -> list[Entry]:
        return list(self._live.values())

    def _entry(self, order: Order) -> Entry | None:
        """By the id that it was given here, where that is known: a ClOrdID may name several."""
        known = self._known.get(order.broker_order_id or "")
        if known is not None and known.order.cl_ord_id == order.cl_ord_id:
            return known  # else the id is of a book before a restart
        if self._rules.open_first:
            alike = [one for one in self._open() if one.order.cl_ord_id == order.cl_ord_id]
            if alike:
                return alike[-1]
        return self._named.get(order.cl_ord_id)

    def _touch(self, order: Order, seen: Instrument) -> Decimal:
        """What an order that takes meets."""
        quote = seen.ask if order.side == "buy" else seen.bid
        price = quote if self._rules.quotes and quote is not None else seen.last_price
        assert price is not None
        return price

    def _crosses(self, order: Order, seen: Instrument) -> bool:
        assert order.price is not None
        touch = self._touch(order, seen)
        return order.price >= touch if order.side == "buy" else order.price <= touch

    def _qty(self, symbol: str) -> Decimal:
        held = self._held.get(symbol)
        return held.qty if held else ZERO

    def _reducible(self, order: Order) -> Decimal:
        """How many lots of the opposite side are held."""
        qty = self._qty(order.symbol)
        return max(ZERO, -qty if order.side == "buy" else qty)


def _on_step(qty: Decimal, step: Decimal) -> Decimal:
    return (qty / step).to_integral_value(ROUND_FLOOR) * step


def _pnl(held: Held, seen: Instrument | None) -> Decimal | None:
    if seen is None or seen.last_price is None or not held.avg_px:
        return None
    return held.qty * (seen.last_price - held.avg_px) * seen.multiplier
