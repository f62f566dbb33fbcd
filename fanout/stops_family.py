"""What stands behind one entry: its stop and its target, and what becomes of them. Pure.

A *family* is one signal's orders in one account that carry protection (`protect`) and what was
made for their fills: leg 2 the stop, leg 3 the target, each with its attempts. Names are derived
from the signal, so nobody makes a pair twice.

What is left to protect is what the entry filled, less what stop and target have closed. Each
change of that is one of:

- none there yet            → written, held
- held                      → its quantity follows, and the levels of one that does not trail
- nothing left              → a held one ends; one at the broker is wished cancelled
- ended, with something left, and nobody wanted it cancelled → held again, as the next attempt
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

import msgspec

from fanout.order import (
    FINAL,
    STOP_LEG,
    TARGET_LEG,
    Order,
    OrdState,
    cl_ord_id,
    order_id,
)
from fanout.ports import Instrument
from fanout.stops_rules import Levels, opposite, protective

AT_BROKER = frozenset({OrdState.NEW, OrdState.PARTIALLY_FILLED})
ATTEMPTS_MAX = 900
"""Of a stop or a target. Each is let go no sooner than a growing pause after the one before."""


class Changes(msgspec.Struct):
    """What a family wants written."""

    new: list[Order] = []
    amended: list[Order] = []
    ended: list[Order] = []  # were held
    unwanted: list[Order] = []  # are at the broker, or on their way there


class Family:
    """One signal's protected orders in one account, as the transaction sees them."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self._orders = {order.cl_ord_id: order for order in orders}
        self._grew = False

    def put(self, order: Order) -> None:
        """What has become of one of its orders, or a new one."""
        before = self._orders.get(order.cl_ord_id)
        if order.protect is not None and before is not None and order.cum_qty > before.cum_qty:
            self._grew = True
        self._orders[order.cl_ord_id] = order

    @property
    def entry(self) -> Order | None:
        """The attempt that filled."""
        filled = [o for o in self._orders.values() if o.protect is not None and o.cum_qty > 0]
        return max(filled, key=lambda o: (o.leg, o.attempt)) if filled else None

    @property
    def left(self) -> Decimal:
        """Lots that the entry filled and that neither stop nor target has closed."""
        total = Decimal(0)
        for order in self._orders.values():
            if order.protect is not None:
                total += order.cum_qty
            elif order.role != "main":
                total -= order.cum_qty
        return max(total, Decimal(0))

    def latest(self, leg: int) -> Order | None:
        attempts = [o for o in self._orders.values() if o.leg == leg and o.role != "main"]
        return max(attempts, key=lambda o: o.attempt) if attempts else None

    def held_again(self, ended: Order, at: datetime) -> Order | None:
        """The next attempt of a stop or target that ended before all was closed; None: there is none."""
        latest = self.latest(ended.leg)
        if ended.role == "main" or ended.state not in FINAL or self.left <= 0:
            return None
        if latest is None or latest.cl_ord_id != ended.cl_ord_id or ended.attempt >= ATTEMPTS_MAX:
            return None
        again = as_held(ended, ended.attempt + 1, self.left, at)
        self.put(again)
        return again

    def settle(self, at: datetime, instrument: Instrument | None) -> Changes:
        """After fills: what must be written so that both stand for what is left."""
        changes, entry = Changes(), self.entry
        if entry is None:
            return changes
        assert entry.protect is not None
        assert entry.avg_px is not None or entry.price is not None
        paid = entry.avg_px if entry.avg_px is not None else entry.price
        assert paid is not None
        stop, target = protective(entry.protect, entry.side, paid, instrument)
        for leg, levels in ((STOP_LEG, stop), (TARGET_LEG, target)):
            if levels is not None:
                self._one(leg, levels, entry, paid, at, changes)
        return changes

    def _one(
        self, leg: int, levels: Levels, entry: Order, paid: Decimal, at: datetime, into: Changes
    ) -> None:
        now, left = self.latest(leg), self.left
        if now is None or now.state in FINAL:
            # One that has ended stands again for new fills alone: else it ended for a reason.
            if left > 0 and (now is None or (self._grew and now.attempt < ATTEMPTS_MAX)):
                attempt = 1 if now is None else now.attempt + 1
                made = _made(entry, leg, attempt, levels, paid, left, at)
                self.put(made)
                into.new.append(made)
        elif now.state is OrdState.HELD and left == 0:
            into.ended.append(now)
        elif now.state is OrdState.HELD:
            after = _moved(now, levels, paid, left)
            if after != now:
                self.put(after)
                into.amended.append(after)
        elif now.state not in FINAL and left == 0:
            into.unwanted.append(now)


def as_held(order: Order, attempt: int, quantity: Decimal, at: datetime) -> Order:
    """The order as it was asked, held once more under the next name."""
    return msgspec.structs.replace(
        order,
        cl_ord_id=cl_ord_id(order.order_id, attempt),
        attempt=attempt,
        order_qty=quantity,
        ord_type=order.asked_type or order.ord_type,
        asked_type=None,
        trigger_px=None,
        state=OrdState.HELD,
        intent_at=at,
        broker_order_id=None,
        cum_qty=Decimal(0),
        avg_px=None,
    )


def _made(
    entry: Order, leg: int, attempt: int, levels: Levels, paid: Decimal, left: Decimal, at: datetime
) -> Order:
    name = order_id(entry.signal_id, entry.account_id, leg)
    return msgspec.structs.replace(
        entry,
        cl_ord_id=cl_ord_id(name, attempt),
        order_id=name,
        leg=leg,
        attempt=attempt,
        role="stop" if leg == STOP_LEG else "target",
        side=opposite(entry.side),
        order_qty=left,
        ord_type=levels.ord_type,
        price=levels.price,
        time_in_force="gtc",
        reduce_only=True,
        state=OrdState.HELD,
        intent_at=at,
        broker_order_id=None,
        cum_qty=Decimal(0),
        avg_px=None,
        stop_px=levels.stop_px,
        trail_amount=levels.trail_amount,
        trail_percent=levels.trail_percent,
        cancel_at=None,
        protect=None,
        asked_type=None,
        trigger_px=None,
        best_px=levels.best_px,
        entry_px=paid,
        breakeven_px=levels.breakeven_px,
    )


def _moved(now: Order, levels: Levels, paid: Decimal, left: Decimal) -> Order:
    """With the new quantity; and, where the entry's average is another, with the levels of that.

    One that trails, or that breakeven has moved, stays where it is if that is nearer.
    """
    after = msgspec.structs.replace(now, order_qty=left)
    if now.entry_px == paid:
        return after
    stop, breakeven = levels.stop_px, levels.breakeven_px
    has_moved = levels.best_px is not None or (breakeven is not None and now.breakeven_px is None)
    if has_moved and stop is not None and now.stop_px is not None:
        nearer = max if now.side == "sell" else min
        stop = nearer(stop, now.stop_px)
        breakeven = breakeven if now.breakeven_px is not None else None
    return msgspec.structs.replace(
        after, stop_px=stop, price=levels.price, entry_px=paid, breakeven_px=breakeven
    )
