"""One of the SDK's trades, read into values of ours. Pure; raises Unreadable where a word is not known.

PendingSubmit is no acknowledgement: the order is on its way. A deal is one, whatever the status says:
deals may come before the order's own event. Deals are counted once each, by `seq`.

Everything at SinoPac is for a day. What still rests when its session is over (stocks 13:30, futures and
options 13:45 and 05:00) has expired, whether or not the copy says so: ROD is "rest of day".
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from fanout.brokers.shioaji.contracts import LOT, decimal_of
from fanout.brokers.shioaji.names import TAIPEI, BrokerName, day_of, taipei
from fanout.brokers.shioaji.port import WORDS, SdkTrade
from fanout.order import FINAL, Order, OrdState
from fanout.ports import Report

SETTLED = timedelta(minutes=15)
"""After the end of a session, until a copy that is late has to have said what filled."""
STOCKS_END, DAY_END, NIGHT_END = time(13, 30), time(13, 45), time(5, 0)


class Unreadable(Exception):
    """The SDK's object is none that we understand."""


class Deal(msgspec.Struct, frozen=True):
    seq: str
    price: Decimal
    qty: Decimal


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """An order as SinoPac has it. Quantities in ours: shares, contracts."""

    id: str
    seqno: str
    ordno: str
    account: str
    code: str
    stock: bool
    action: str
    qty: Decimal
    price: Decimal | None
    custom_field: str
    status: str
    status_code: str
    text: str
    ordered_at: datetime | None
    canceled_qty: Decimal
    dealt_qty: Decimal
    deals: tuple[Deal, ...]

    @property
    def name(self) -> str | None:
        """As `broker_order_id`; None while SinoPac has not said when it came."""
        if self.ordered_at is None:
            return None
        return str(BrokerName(day_of(self.ordered_at), self.id, self.seqno))


def word(value: Any) -> str:
    """Of an enum or of a plain string."""
    return str(getattr(value, "value", value) or "")


def account_name(account: Any) -> str:
    """As an account's settings name it: `F002000-1234567`."""
    return "" if account is None else f"{account.broker_id}-{account.account_id}"


def seen(trade: SdkTrade) -> Seen:
    """Raises Unreadable."""
    order, status = trade.order, trade.status
    try:
        stock = word(trade.contract.security_type) == "STK"
        lots = stock and word(order.order_lot) in ("Common", "")
        unit = LOT if lots else Decimal(1)
        deals = {str(deal.seq): deal for deal in status.deals}
        found = Seen(
            id=str(order.id or status.id),
            seqno=str(order.seqno or ""),
            ordno=str(order.ordno or ""),
            account=account_name(order.account),
            code=str(trade.contract.code),
            stock=stock,
            action=word(order.action),
            qty=order.quantity * unit,
            price=decimal_of(status.modified_price) or decimal_of(order.price),
            custom_field=order.custom_field or "",
            status=word(status.status),
            status_code=status.status_code or "",
            text=status.msg or "",
            ordered_at=None if status.order_datetime is None else taipei(status.order_datetime),
            canceled_qty=(status.cancel_quantity or 0) * unit,
            dealt_qty=(status.deal_quantity or 0) * unit,
            deals=tuple(
                Deal(seq, decimal_of(deal.price) or Decimal(0), deal.quantity * unit)
                for seq, deal in sorted(deals.items())
            ),
        )
    except (AttributeError, TypeError, ValueError) as why:
        raise Unreadable(f"a trade of the SDK: {why}") from why
    if found.status not in WORDS["OrderStatus"] or found.action not in WORDS["Action"]:
        raise Unreadable(f"a trade is {found.status!r} {found.action!r}, which is not known")
    return found


def filled(it: Seen) -> tuple[Decimal, Decimal | None]:
    """How much, and for how much on average: the deals, and what the status counts where it is more."""
    qty = sum((deal.qty for deal in it.deals), Decimal(0))
    worth = sum((deal.qty * deal.price for deal in it.deals), Decimal(0))
    return max(qty, it.dealt_qty), (worth / qty if qty else None)


def state_of(it: Seen, order_qty: Decimal, now: datetime) -> OrdState | None:
    """None: nobody has acknowledged it yet."""
    cum, _ = filled(it)
    if cum > 0 and cum >= it.qty - it.canceled_qty:
        # What is less than was asked (a reduce-only order, an amended one) is filled and done.
        return OrdState.FILLED if cum >= order_qty else OrdState.CANCELED
    if it.status == "Failed":
        return OrdState.REJECTED if cum == 0 else OrdState.CANCELED
    if it.status == "Cancelled":
        return OrdState.CANCELED
    if it.status in ("PendingSubmit", "Inactive") and cum == 0:
        return None
    if it.status != "PreSubmitted" and is_over(it, now):
        return OrdState.EXPIRED
    return OrdState.PARTIALLY_FILLED if cum > 0 else OrdState.NEW


def is_over(it: Seen, now: datetime) -> bool:
    """The session that the order was for has ended, SETTLED ago."""
    return it.ordered_at is not None and now > session_end(it.ordered_at, it.stock) + SETTLED


def session_end(at: datetime, stock: bool) -> datetime:
    """When the session that an order of this moment is for ends."""
    here = at.astimezone(TAIPEI)
    if stock:
        return datetime.combine(here.date(), STOCKS_END, TAIPEI)
    if here.time() < NIGHT_END:
        return datetime.combine(here.date(), NIGHT_END, TAIPEI)
    if here.time() < DAY_END:
        return datetime.combine(here.date(), DAY_END, TAIPEI)
    return datetime.combine(here.date() + timedelta(days=1), NIGHT_END, TAIPEI)


def report(it: Seen, cl_ord_id: str, order_qty: Decimal, now: datetime) -> Report | None:
    """None: nobody has acknowledged it yet."""
    state, name = state_of(it, order_qty, now), it.name
    if state is None or name is None:
        return None
    cum, average = filled(it)
    return Report(
        cl_ord_id=cl_ord_id,
        broker_order_id=name,
        ord_status=state,
        cum_qty=cum,
        avg_px=average,
        text=it.text,
        transact_time=it.ordered_at or now,
        raw=msgspec.json.encode(it),
    )


def is_done(found: Report | None) -> bool:
    return found is not None and found.ord_status in FINAL


# ------------------------------------------------------------------ which of them is ours?


class Several(msgspec.Struct, frozen=True):
    """More than one may be it, or one that has lost its name: a person decides."""

    why: str


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one order of ours."""

    order: Order
    account: str
    code: str
    custom_field: str
    since: datetime
    """No request for it can have left before."""
    id: str | None = None
    day: str = ""


def match(wanted: Wanted, trades: Iterable[Seen], others: frozenset[str]) -> Seen | Several | None:
    """The one that is ours. `others`: SinoPac's ids of which the journal knows that they are not."""
    mine = [it for it in trades if it.account == wanted.account]
    if wanted.id is not None:
        return next((it for it in mine if it.id == wanted.id and _same_day(it, wanted)), None)
    alike = [it for it in mine if it.id not in others and _alike(it, wanted)]
    named = [it for it in alike if it.custom_field == wanted.custom_field]
    if len(named) == 1:
        return named[0]
    if named:
        return Several(f"{len(named)} orders carry our name {wanted.custom_field}")
    nameless = [it for it in alike if not it.custom_field]
    if nameless:
        return Several(f"order {nameless[0].id} is like it and carries no name")
    return None


def _same_day(it: Seen, wanted: Wanted) -> bool:
    return (
        not wanted.day or it.ordered_at is None or f"{day_of(it.ordered_at):%Y%m%d}" == wanted.day
    )


def _alike(it: Seen, wanted: Wanted) -> bool:
    order = wanted.order
    size = it.qty <= order.order_qty if order.reduce_only else it.qty == order.order_qty
    late = it.ordered_at is None or it.ordered_at >= wanted.since
    return it.code == wanted.code and it.action.lower() == order.side and size and late
