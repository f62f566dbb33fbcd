"""What Gate.io spot says of an order. No I/O, no clock; raises only Unreadable.

May it exist? fanout/brokers/gate/verdict.py has the table. What was filled is counted *net*: Gate takes
the fee of a buy out of what is bought, so of 1 bought the account has 0.998. `cum_qty` is what it has,
in whole steps of the lot, for that is what can be sold again and what balances will show (ADR 16).
What is under a step stays at Gate as dust that nobody owns.

An order that was cut to the balance (sizes.py) and filled is `canceled` for what was cut off.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

import msgspec

from fanout.abilities import Amended, AmendOutcome, AmendRefused, AmendUnknown
from fanout.brokers.gate import labels as shared
from fanout.brokers.gate.reading import Answer, Unreadable, decode, finite, label_of, moment
from fanout.brokers.gate.request import client_text
from fanout.brokers.gateio_spot import labels
from fanout.order import Order, OrdState
from fanout.ports import (
    CancelDone,
    CancelOutcome,
    CancelTooLate,
    CancelUnknown,
    Rejected,
    Report,
)


class Missing(msgspec.Struct, frozen=True):
    """Gate says that it knows no such order, which by itself proves nothing."""

    text: str


class _OrderAnswer(msgspec.Struct):
    id: str
    currency_pair: str
    side: str
    amount: Decimal
    left: Decimal
    status: str
    text: str = ""
    type: str = "limit"
    finish_as: str | None = None
    filled_amount: Decimal | None = None
    filled_total: Decimal | None = None
    fee: Decimal | None = None
    fee_currency: str = ""
    create_time_ms: int | None = None
    update_time_ms: int | None = None


class _Trade(msgspec.Struct):
    order_id: str
    text: str = ""


class _PairOrders(msgspec.Struct):
    orders: list[msgspec.Raw]


class Element(msgspec.Struct):
    """One order's answer within a batch's."""

    text: str = ""
    succeeded: bool = False
    label: str = ""
    message: str = ""


def on_step(amount: Decimal, step: Decimal) -> Decimal:
    """Down to a whole number of steps."""
    return (amount / step).to_integral_value(ROUND_FLOOR) * step


def net(bought: bool, pair: str, amount: Decimal, fee: Decimal, fee_currency: str) -> Decimal:
    """What the account has of it: less the fee where that was taken in the same asset."""
    base = pair.rpartition("_")[0]
    return amount - fee if bought and fee_currency == base else amount


# ------------------------------------------------------------------ orders


def report(body: bytes, order: Order, step: Decimal) -> Report:
    """The state of *our* order. Raises Unreadable for another order's or an unknown word."""
    answer = decode(body, _OrderAnswer)
    if answer.text != client_text(order.cl_ord_id) or answer.currency_pair != order.symbol:
        raise Unreadable(f"the answer is about {answer.text!r} in {answer.currency_pair!r}")
    amount = finite(answer.amount, "amount")
    if answer.side != order.side or not 0 < amount <= order.order_qty:
        raise Unreadable(f"{order.side} {order.order_qty} came back as {answer.side} {amount}")
    return _report(answer, order.cl_ord_id, body, step, asked=order.order_qty)


def _report(
    answer: _OrderAnswer, cl_ord_id: str, raw: bytes, step: Decimal, *, asked: Decimal
) -> Report:
    if answer.type == "market" and answer.side == "buy":
        raise Unreadable("a market order to buy counts in quote, and is none of ours")
    amount, left = finite(answer.amount, "amount"), finite(answer.left, "left")
    filled = amount - left
    if answer.filled_amount is not None and filled != finite(answer.filled_amount, "filled_amount"):
        raise Unreadable(f"left {left} of {amount}, but filled {answer.filled_amount}")
    if not 0 <= filled <= amount:
        raise Unreadable(f"left {left} of {amount}")
    paid = finite(answer.filled_total or Decimal(0), "filled_total")
    fee = finite(answer.fee or Decimal(0), "fee")
    bought = answer.side == "buy"
    cum_qty = on_step(net(bought, answer.currency_pair, filled, fee, answer.fee_currency), step)
    at_ms = answer.update_time_ms or answer.create_time_ms or 0
    return Report(
        cl_ord_id=cl_ord_id,
        broker_order_id=answer.id,
        ord_status=_state(answer.status, cum_qty, left, whole=amount == asked),
        cum_qty=cum_qty,
        avg_px=paid / filled if filled and paid else None,
        text=answer.finish_as or "",
        transact_time=moment(at_ms / 1000),
        raw=raw,
    )


def _state(status: str, cum_qty: Decimal, left: Decimal, *, whole: bool) -> OrdState:
    if status == "open":
        return OrdState.PARTIALLY_FILLED if cum_qty else OrdState.NEW
    if status == "closed" and not left:
        return OrdState.FILLED if whole else OrdState.CANCELED
    if status == "cancelled":
        return OrdState.CANCELED
    raise Unreadable(f"status {status!r}, left {left}")


def looked_up(answer: Answer, order: Order, step: Decimal) -> Report | Missing:
    """What the answer to GET of one order says. Raises Unreadable where it says nothing clear."""
    if answer.status == 200:
        return report(answer.body, order, step)
    label, text = label_of(answer)
    if answer.status in (400, 404) and label == labels.GONE:
        return Missing(text=text)
    raise Unreadable(f"status {answer.status} {label}".rstrip())


def listed(answer: Answer, order: Order, step: Decimal) -> tuple[Report | None, int]:
    """Of one page of orders: ours if it is there, and how many there are. Raises Unreadable."""
    rows = _rows(answer, "orders")
    text = client_text(order.cl_ord_id)
    for raw in rows:
        if decode(bytes(raw), _OrderAnswer).text == text:
            return report(bytes(raw), order, step), len(rows)
    return None, len(rows)


def own_trade(answer: Answer, order: Order) -> tuple[str | None, int]:
    """Of one page of my_trades: Gate's id of our order if it traded, and the count. Raises Unreadable."""
    text, rows = client_text(order.cl_ord_id), _rows(answer, "my_trades")
    known = order.broker_order_id
    for trade in (decode(bytes(raw), _Trade) for raw in rows):
        if trade.text == text or (known is not None and trade.order_id == known):
            return trade.order_id, len(rows)
    return None, len(rows)


def _rows(answer: Answer, what: str) -> list[msgspec.Raw]:
    if answer.status != 200:
        label, _ = label_of(answer)
        raise Unreadable(f"{what}: status {answer.status} {label}".rstrip())
    return decode(answer.body, list[msgspec.Raw])


def open_reports(body: bytes, steps: dict[str, Decimal]) -> tuple[list[Report], int]:
    """One page of all pairs' open orders, and the most of any pair. Raises Unreadable.

    Orders that are not ours keep their text as cl_ord_id.
    """
    pairs = decode(body, list[_PairOrders])
    found = []
    for raw in (raw for pair in pairs for raw in pair.orders):
        answer = decode(bytes(raw), _OrderAnswer)
        step = steps.get(answer.currency_pair)
        if step is None:
            raise Unreadable(f"an order in {answer.currency_pair}, which is no pair of Gate's")
        name = answer.text.removeprefix("t-")
        found.append(_report(answer, name, bytes(raw), step, asked=answer.amount))
    return found, max((len(pair.orders) for pair in pairs), default=0)


# ------------------------------------------------------------------ refusals, cancels, amends


def sharpened(refusal: Rejected) -> Rejected:
    """Gate says "too small" by its label for any wrong value: the text tells."""
    if refusal.code == "INVALID_PARAM_VALUE" and refusal.text.startswith(labels.SIZE_WORDS):
        return msgspec.structs.replace(refusal, kind="size")
    return refusal


def elements(body: bytes) -> list[tuple[Element, bytes]]:
    """A batch's answer, order by order, with each one's own bytes. Raises Unreadable."""
    return [(decode(bytes(raw), Element), bytes(raw)) for raw in decode(body, list[msgspec.Raw])]


def canceled(answer: Answer, order: Order, step: Decimal) -> CancelOutcome:
    """What the answer to DELETE of one order says. Never raises."""
    if answer.status == 200:
        try:
            seen = report(answer.body, order, step)
        except Unreadable as why:
            return CancelUnknown(cause=str(why))
        if seen.ord_status is OrdState.CANCELED:
            return CancelDone(report=seen)
        if seen.ord_status is OrdState.FILLED:
            return CancelTooLate(text="filled before the cancel")
        return CancelUnknown(cause=f"after the cancel Gate shows it {seen.ord_status}")
    label, text = label_of(answer)
    if 400 <= answer.status < 500 and label in labels.TOO_LATE:
        return CancelTooLate(text=f"{label}: {text}")
    return CancelUnknown(cause=f"status {answer.status} {label}".rstrip())


def all_canceled(answer: Answer) -> bool:
    """Whether Gate says of each order that it cancelled it."""
    if answer.status != 200:
        return False
    try:
        return all(element.succeeded for element, _ in elements(answer.body))
    except Unreadable:
        return False


def amended(answer: Answer, order: Order, step: Decimal) -> AmendOutcome:
    """`order`: as it is to be after the change. Never raises."""
    if answer.status == 200:
        try:
            seen = report(answer.body, order, step)
        except Unreadable as why:
            return AmendUnknown(cause=str(why))
        if seen.ord_status is OrdState.CANCELED:
            return AmendRefused(code="CANCELLED", text="less than is filled", too_late=True)
        return Amended(report=seen)
    label, text = label_of(answer)
    if not 400 <= answer.status < 500 or not label or label in shared.SERVER_FAULT:
        return AmendUnknown(cause=f"status {answer.status} {label}".rstrip())
    return AmendRefused(code=label, text=text, too_late=label in labels.TOO_LATE)
