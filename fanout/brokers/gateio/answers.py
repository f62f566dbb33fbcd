"""What Gate.io says of an order. No I/O, no clock; raises only Unreadable.

*May it exist?* fanout/brokers/gate/verdict.py has the table. This file reads what an order became.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from fanout.brokers.gate import labels, verdict
from fanout.brokers.gate.reading import (
    Answer,
    Unreadable,
    decode,
    finite,
    label_of,
    moment,
)
from fanout.brokers.gateio.wire import client_text
from fanout.order import Order, OrdState
from fanout.ports import (
    CancelDone,
    CancelOutcome,
    CancelTooLate,
    CancelUnknown,
    Outcome,
    Report,
)
from tenancy.errors import UNREADABLE

# finish_as of an order that ended before it was filled. "filled" is its own case.
CANCELED_AS = frozenset(
    {
        "cancelled",
        "ioc",
        "liquidated",
        "auto_deleveraged",
        "reduce_only",
        "position_closed",
        "reduce_out",
        "stp",
    }
)


class Missing(msgspec.Struct, frozen=True):
    """Gate says that it knows no such order, which by itself proves nothing."""

    text: str


class _OrderAnswer(msgspec.Struct):
    id: int | str
    contract: str
    size: Decimal
    left: Decimal
    status: str
    text: str = ""
    finish_as: str | None = None
    fill_price: Decimal | None = None
    create_time: float | None = None
    update_time: float | None = None
    finish_time: float | None = None


class _Trade(msgspec.Struct):
    create_time: float
    order_id: int | str
    text: str = ""


_order_decoder = msgspec.json.Decoder(_OrderAnswer)


def outcome(
    answer: Answer, order: Order, *, not_after: datetime, now: datetime, clock_error_s: float
) -> Outcome:
    """What the answer to place() says: ../gate/verdict.py. Never raises."""
    return verdict.outcome(
        answer,
        lambda body: report(body, order),
        labels.REJECTED,
        not_after=not_after,
        now=now,
        clock_error_s=clock_error_s,
    )


def looked_up(answer: Answer, order: Order) -> Report | Missing:
    """What the answer to GET of one order says. Raises Unreadable where it says nothing clear."""
    if answer.status == 200:
        return report(answer.body, order)
    label, text = label_of(answer)
    if (answer.status == 404 and label == labels.GONE) or _never_funded(answer, label):
        return Missing(text=text)
    raise Unreadable(f"status {answer.status} {label}".rstrip())


def _never_funded(answer: Answer, label: str) -> bool:
    return 400 <= answer.status < 500 and label == labels.NEVER_FUNDED


def canceled(answer: Answer, order: Order) -> CancelOutcome:
    """What the answer to DELETE of one order says. Never raises."""
    if answer.status == 200:
        try:
            seen = report(answer.body, order)
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


def report(body: bytes, order: Order) -> Report:
    """The state of *our* order. Raises Unreadable for another order's or an unknown word."""
    try:
        answer = _order_decoder.decode(body)
    except UNREADABLE as why:
        raise Unreadable(f"not an order: {why}") from None
    if answer.text != client_text(order.cl_ord_id) or answer.contract != order.symbol:
        raise Unreadable(f"the answer is about {answer.text!r} in {answer.contract!r}")
    size = finite(answer.size, "size")
    if (size > 0) != (order.side == "buy") or abs(size) > order.order_qty:
        raise Unreadable(f"{order.side} {order.order_qty} came back as size {size}")
    return _report(answer, order.cl_ord_id, body)


def _report(answer: _OrderAnswer, cl_ord_id: str, raw: bytes) -> Report:
    size, left = abs(finite(answer.size, "size")), abs(finite(answer.left, "left"))
    if left > size:
        raise Unreadable(f"left {left} of size {size}")
    cum_qty = size - left
    price = finite(answer.fill_price or Decimal(0), "fill_price")
    return Report(
        cl_ord_id=cl_ord_id,
        broker_order_id=str(answer.id),
        ord_status=_state(answer.status, answer.finish_as, cum_qty, left),
        cum_qty=cum_qty,
        avg_px=price if cum_qty and price else None,
        text=answer.finish_as or "",
        transact_time=moment(answer.finish_time or answer.update_time or answer.create_time),
        raw=raw,
    )


def _state(status: str, finish_as: str | None, cum_qty: Decimal, left: Decimal) -> OrdState:
    if status == "open":
        return OrdState.PARTIALLY_FILLED if cum_qty else OrdState.NEW
    if status == "finished" and finish_as == "filled" and not left:
        return OrdState.FILLED
    if status == "finished" and finish_as in CANCELED_AS:
        return OrdState.CANCELED if left else OrdState.FILLED
    raise Unreadable(f"status {status!r}, finish_as {finish_as!r}, left {left}")


def open_reports(body: bytes) -> list[Report]:
    """One page of open orders; orders that are not ours keep their text as cl_ord_id."""
    # Each order's own bytes are its report's raw, so the list is cut before it is read.
    return [
        _report(answer, answer.text.removeprefix("t-"), bytes(raw))
        for raw in decode(body, list[msgspec.Raw])
        for answer in (decode(bytes(raw), _OrderAnswer),)
    ]


def own_trade(answer: Answer, order: Order) -> tuple[str | None, int, float | None]:
    """Of one page of my_trades: Gate's id of our order if it traded, the count, the oldest time.

    Raises Unreadable.
    """
    if answer.status != 200:
        label, _ = label_of(answer)
        if _never_funded(answer, label):
            return None, 0, None
        raise Unreadable(f"my_trades: status {answer.status} {label}".rstrip())
    trades = decode(answer.body, list[_Trade])
    text = client_text(order.cl_ord_id)
    ours = [str(t.order_id) for t in trades if t.text == text]
    oldest = min((t.create_time for t in trades), default=None)
    return (ours[0] if ours else None), len(trades), oldest
