"""What the log says of an order, from what left to the close that ends its story."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import msgspec
import pytest

from fanout import evidence
from fanout.lesson import Lesson
from fanout.lifecycle import advance
from fanout.order import OrdState
from fanout.ports import Report
from tests.builders import order

AT = datetime(2026, 3, 1, tzinfo=UTC)
ORDER = order()


def report(state: OrdState, cum: int = 0) -> Report:
    return Report(
        cl_ord_id=ORDER.cl_ord_id, broker_order_id="b-1", ord_status=state, cum_qty=D(cum),
        avg_px=D(100) if cum else None, text="", transact_time=AT, raw=b"{}",
    )  # fmt: skip


def told(before: OrdState, *, cum: int = 0, heard: Report | None = None, **said) -> list[str]:
    """The kinds of record of one lesson of an order in this state, with so much filled."""
    known = msgspec.structs.replace(ORDER, state=before, cum_qty=D(cum))
    lesson = Lesson(order=known, learned_at=AT + timedelta(seconds=1), report=heard, **said)
    if heard is None:
        return [e.kind.value for e in evidence.learned(lesson, before, said["state"], None)]
    progress = advance(before, D(cum), D(100) if cum else None, heard)
    assert progress is not None
    return [e.kind.value for e in evidence.learned(lesson, before, progress.state, progress)]


def test_what_left_is_told_before_what_came_back():
    heard = report(OrdState.FILLED, 2)
    assert told(OrdState.INTENT, heard=heard, sent_at=AT, left=True) == [
        "order.sent", "order.acknowledged", "order.fill", "order.close",
    ]  # fmt: skip


def test_sent_is_when_it_left_and_not_when_it_was_learned():
    lesson = Lesson(
        order=ORDER, learned_at=AT + timedelta(seconds=1), state=OrdState.IN_DOUBT, sent_at=AT,
        left=True,
    )  # fmt: skip
    sent, doubt = evidence.learned(lesson, OrdState.INTENT, OrdState.IN_DOUBT, None)
    assert (sent.kind, doubt.kind) == ("order.sent", "order.in_doubt")
    assert doubt.ts_ns - sent.ts_ns == 10**9


@pytest.mark.parametrize("state", [OrdState.UNSENT, OrdState.DENIED, OrdState.REJECTED])
def test_what_never_left_ends_its_story_without_a_word_of_sending(state: OrdState):
    kinds = told(OrdState.INTENT, state=state, sent_at=AT)
    assert "order.sent" not in kinds
    assert kinds[-1] == "order.close"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OrdState.INTENT, OrdState.REJECTED),
        (OrdState.INTENT, OrdState.UNSENT),
        (OrdState.INTENT, OrdState.DENIED),
        (OrdState.IN_DOUBT, OrdState.ABSENT),
        (OrdState.IN_DOUBT, OrdState.REJECTED),
        (OrdState.NEW, OrdState.CANCELED),
    ],
)
def test_every_end_by_our_own_word_closes_the_story(before: OrdState, after: OrdState):
    assert told(before, state=after)[-1] == "order.close"


def test_an_attempt_that_is_followed_by_another_closes_nothing():
    following = msgspec.structs.replace(ORDER, attempt=2)
    kinds = told(OrdState.IN_DOUBT, state=OrdState.ABSENT, successor=following)
    assert kinds == ["order.resolved"]


def test_a_fill_that_crossed_our_cancel_is_told_and_closed_once_more():
    kinds = told(OrdState.CANCELED, heard=report(OrdState.FILLED, 2))
    assert kinds == ["order.resolved", "order.fill", "order.close"]


def test_more_of_a_fill_that_leaves_the_state_as_it_was_is_closed_once_more():
    kinds = told(OrdState.CANCELED, cum=1, heard=report(OrdState.CANCELED, 2))
    assert kinds == ["order.fill", "order.close"]


def test_an_order_that_we_had_ruled_out_is_open_again_and_says_so():
    assert told(OrdState.ABSENT, heard=report(OrdState.NEW)) == ["order.resolved"]
