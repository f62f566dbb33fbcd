"""The life cycle, its odd rows included."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fanout.lifecycle import MOVES, OUR_WORD, advance
from fanout.order import OrdState
from tests.builders import order, report

S = OrdState


def test_every_state_has_a_row():
    assert set(MOVES) == set(OrdState)
    assert set(OUR_WORD) <= set(OrdState)


def test_fill_before_acknowledgement_counts():
    intent = order()
    progress = advance(S.INTENT, Decimal(0), None, report(intent))
    assert progress is not None
    assert (progress.state, progress.last_qty) == (S.FILLED, Decimal(10))


def test_fill_after_cancel_counts_and_surprises():
    intent = order()
    filled = report(intent, S.FILLED)
    progress = advance(S.CANCELED, Decimal(0), None, filled)
    assert progress is not None
    assert progress.state is S.FILLED
    assert progress.surprising


def test_partial_fill_then_cancel_keeps_what_was_filled():
    intent = order()
    canceled = report(intent, S.CANCELED, cum_qty=Decimal(4), avg_px=Decimal(100))
    progress = advance(S.PARTIALLY_FILLED, Decimal(3), Decimal(90), canceled)
    assert progress is not None
    assert (progress.state, progress.cum_qty, progress.last_qty) == (S.CANCELED, 4, 1)
    assert progress.last_px == Decimal(130)  # 4 x 100 - 3 x 90


@pytest.mark.parametrize("state", [S.FILLED, S.PARTIALLY_FILLED, S.CANCELED, S.NEW])
def test_an_older_picture_changes_nothing(state):
    stale = report(order(), S.NEW, cum_qty=Decimal(2), avg_px=Decimal(5))
    assert advance(state, Decimal(5), Decimal(5), stale) is None


def test_the_same_report_twice_is_news_once():
    same = report(order())
    assert advance(S.FILLED, Decimal(10), Decimal(50_000), same) is None


ODD = [
    # what we know, what is reported (state, filled), what it becomes, what is odd about it
    (S.UNSENT, 0, S.NEW, 0, S.NEW, "after_its_end"),
    (S.ABSENT, 0, S.FILLED, 10, S.FILLED, "after_its_end"),
    (S.ABSENT, 0, S.REJECTED, 0, S.REJECTED, "after_its_end"),
    (S.DENIED, 0, S.PARTIALLY_FILLED, 2, S.PARTIALLY_FILLED, "after_its_end"),
    (S.CANCELED, 0, S.FILLED, 10, S.FILLED, "after_its_end"),
    (S.CANCELED, 3, S.PARTIALLY_FILLED, 5, S.PARTIALLY_FILLED, "after_its_end"),
    (S.EXPIRED, 3, S.EXPIRED, 5, S.EXPIRED, "after_its_end"),
    (S.REJECTED, 0, S.FILLED, 10, S.FILLED, "after_its_end"),
    (S.PARTIALLY_FILLED, 3, S.REJECTED, 4, S.CANCELED, "filled_and_refused"),
    (S.NEW, 0, S.FILLED, 11, S.FILLED, "overfilled"),
    (S.FILLED, 10, S.FILLED, 11, S.FILLED, "overfilled"),
    (S.HELD, 0, S.FILLED, 10, S.HELD, "never_sent"),
    (S.WAITING, 0, S.FILLED, 10, S.WAITING, "never_sent"),
    (S.INTENT, 0, S.PARTIALLY_FILLED, 2, S.PARTIALLY_FILLED, None),  # before its acknowledgement
    (S.IN_DOUBT, 0, S.FILLED, 10, S.FILLED, None),
    (S.NEW, 0, S.REJECTED, 0, S.REJECTED, None),
    (S.NEW, 0, S.FILLED, 10, S.FILLED, None),  # and its cancel was refused
    (S.INTENT, 0, S.NEW, 3, S.PARTIALLY_FILLED, None),
]


@pytest.mark.parametrize(("known", "had", "reported", "cum", "becomes", "surprise"), ODD)
def test_each_odd_row_counts_what_was_filled_and_says_what_is_odd(
    known, had, reported, cum, becomes, surprise
):
    heard = report(order(), reported, cum_qty=Decimal(cum), avg_px=Decimal(5) if cum else None)
    progress = advance(
        known, Decimal(had), Decimal(5) if had else None, heard, order_qty=Decimal(10)
    )
    assert progress is not None
    assert (progress.state, progress.cum_qty, progress.last_qty) == (becomes, cum, cum - had)
    assert progress.surprise == surprise


IGNORED = [
    (S.HELD, 0, S.NEW, 0),
    (S.WAITING, 0, S.CANCELED, 0),
    (S.REJECTED, 0, S.NEW, 0),  # the acknowledgement came after the refusal
    (S.CANCELED, 0, S.NEW, 0),
    (S.FILLED, 10, S.CANCELED, 10),
    (S.CANCELED, 3, S.EXPIRED, 3),  # of two ends the first stands
    (S.PARTIALLY_FILLED, 5, S.CANCELED, 3),  # its end, too: older than what we know
]


@pytest.mark.parametrize(("known", "had", "reported", "cum"), IGNORED)
def test_what_knows_no_more_than_the_book_is_no_news(known, had, reported, cum):
    heard = report(order(), reported, cum_qty=Decimal(cum), avg_px=Decimal(5) if cum else None)
    assert advance(known, Decimal(had), Decimal(5) if had else None, heard) is None


def test_an_order_that_was_never_sent_cannot_be_reported():
    assert MOVES[S.WAITING] == frozenset()
