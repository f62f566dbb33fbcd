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


def test_an_order_that_was_never_sent_cannot_be_reported():
    assert MOVES[S.WAITING] == frozenset()
