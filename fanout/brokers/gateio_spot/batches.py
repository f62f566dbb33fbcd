"""Orders that go together in one request: what is sent of each, and what one answer says of each. Pure.

Gate takes ten orders of a pair and four pairs at a time. One batch of ours is ten at most; what is of a
fifth pair is not sent, and may be sent again. A malformed element fails all of them, with nothing
placed: the answer is then a 4xx, and each is refused by it.

An answer is read element by element, and an element is believed only where it names its order. One
that is missing, names another, or cannot be read is doubt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from fanout.brokers.gate import verdict
from fanout.brokers.gate.reading import Answer, Unreadable
from fanout.brokers.gate.request import Unsupported, client_text
from fanout.brokers.gateio_spot import answers, labels, sizes
from fanout.brokers.gateio_spot.answers import Element
from fanout.brokers.gateio_spot.wire import Sized
from fanout.order import Order
from fanout.ports import InDoubt, Instrument, Outcome, Rejected, Report, Unsent

MOST = 10
PAIRS_MOST = 4


def decided(
    orders: Sequence[Order],
    table: Mapping[str, Instrument],
    available: Mapping[str, Decimal],
    slip: Decimal,
) -> list[Sized | Outcome]:
    """What is sent of each order, or why it is not. Sells that only reduce share what is available."""
    left = dict(available)
    pairs: set[str] = set()
    found: list[Sized | Outcome] = []
    for place, order in enumerate(orders):
        base = order.symbol.rpartition("_")[0]
        one = _decided(order, table.get(order.symbol), left.get(base), slip)
        if isinstance(one, Sized):
            if place >= MOST or len(pairs | {order.symbol}) > PAIRS_MOST:
                found.append(
                    Unsent(cause=f"Gate takes {MOST} orders of {PAIRS_MOST} pairs at a time")
                )
                continue
            pairs.add(order.symbol)
            if order.side == "sell" and base in left:
                left[base] -= one.amount
        found.append(one)
    return found


def _decided(
    order: Order, pair: Instrument | None, available: Decimal | None, slip: Decimal
) -> Sized | Rejected:
    try:
        return sizes.sized(order, pair, available, slip)
    except Unsupported as why:
        # Not Gate's word but its rules': final, where Unsent would be tried again and again.
        return Rejected(code=why.code, kind="other", text=f"not sent: {why}", left=False)


class Judge(msgspec.Struct, frozen=True):
    """What an answer says, by when it was read: both times by Gate's clock."""

    steps: Mapping[str, Decimal]
    not_after: datetime
    now: datetime
    clock_error_s: float

    def one(self, answer: Answer, order: Order) -> Outcome:
        """Of one order's own answer."""

        def read(body: bytes) -> Report:
            return answers.report(body, order, self.steps[order.symbol])

        said = verdict.outcome(
            answer,
            read,
            labels.REJECTED,
            not_after=self.not_after,
            now=self.now,
            clock_error_s=self.clock_error_s,
        )
        return answers.sharpened(said) if isinstance(said, Rejected) else said

    def each(self, answer: Answer, orders: Sequence[Order]) -> list[Outcome]:
        """Of each order, by its element; a batch refused as a whole is each one's refusal."""
        if answer.status not in (200, 201):
            return [self.one(answer, order) for order in orders]
        try:
            told = {element.text: (element, raw) for element, raw in answers.elements(answer.body)}
        except Unreadable as why:
            return [InDoubt(cause=str(why), not_after=self.not_after, raw=answer.body)] * len(
                orders
            )
        return [self._element(told.get(client_text(o.cl_ord_id)), o) for o in orders]

    def _element(self, told: tuple[Element, bytes] | None, order: Order) -> Outcome:
        if told is None:
            return InDoubt(cause="the batch's answer does not name it", not_after=self.not_after)
        element, raw = told
        if element.succeeded:
            return self.one(Answer(200, raw), order)
        body = msgspec.json.encode({"label": element.label, "message": element.message})
        return self.one(Answer(400, body), order)
