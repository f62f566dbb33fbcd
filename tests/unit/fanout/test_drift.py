"""Our book against a broker's: what is agreement, what is a difference, and what proves nothing yet."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from fanout.drift import (
    Agreed,
    Aside,
    Differs,
    OpenOrder,
    Ours,
    Theirs,
    Unsettled,
    compare,
    still_aside,
    theirs_of,
)
from fanout.order import OrdState
from fanout.ports import BrokerPosition
from tests.unit.fanout.reported import reported

D = Decimal
NOTHING = Aside()


def resting(name: str = "a.1", cum: int = 0, state: OrdState = OrdState.NEW) -> OpenOrder:
    return OpenOrder(name, "BTC_USDT", state, D(cum))


def said(qty: int = 0, *reports: object, symbol: str = "BTC_USDT") -> Theirs:
    held = {symbol: D(qty)} if qty else {}
    return Theirs(positions=held, open={r.cl_ord_id: r for r in reports})  # type: ignore[attr-defined]


def book(qty: int = 0, *orders: OpenOrder) -> Ours:
    return Ours(positions={"BTC_USDT": D(qty)} if qty else {}, open=orders)


def test_nothing_on_either_side_agrees():
    assert compare(book(), said(), book(), NOTHING) == Agreed()


def test_the_same_positions_and_orders_agree():
    ours = book(3, resting("a.1", 1, OrdState.PARTIALLY_FILLED))
    assert compare(ours, said(3, reported("a.1", 1)), ours, NOTHING) == Agreed()


@pytest.mark.parametrize(("ours", "theirs"), [(3, 2), (0, 5), (4, 0), (1, -1)])
def test_another_position_differs_by_what_the_broker_has_more(ours, theirs):
    found = compare(book(ours), said(theirs), book(ours), NOTHING)
    assert isinstance(found, Differs)
    (one,) = found.found
    assert (one.kind, one.subject, one.lots) == ("position", "BTC_USDT", D(theirs - ours))


def test_an_order_that_is_not_ours_differs_and_is_named_by_the_brokers_id():
    found = compare(book(), said(0, reported("web", 0)), book(), NOTHING)
    assert isinstance(found, Differs)
    assert [one.key for one in found.found] == [("order", "b-web")]


@pytest.mark.parametrize("state", [OrdState.INTENT, OrdState.IN_DOUBT])
def test_while_an_order_is_under_way_a_difference_is_not_judged(state):
    ours = book(0, resting("a.1", 0, state))
    assert isinstance(compare(ours, said(1), ours, NOTHING), Unsettled)


def test_an_intent_that_waits_for_this_comparison_is_not_under_way():
    ours = book(0, resting("a.1", 0, OrdState.INTENT))
    waiting = frozenset({"BTC_USDT"})
    assert isinstance(compare(ours, said(1), ours, NOTHING, waiting), Differs)
    doubt = book(0, resting("a.1", 0, OrdState.IN_DOUBT))
    assert isinstance(compare(doubt, said(1), doubt, NOTHING, waiting), Unsettled)


def test_a_book_that_moved_while_the_broker_was_asked_proves_nothing():
    assert isinstance(compare(book(1), said(3), book(2), NOTHING), Unsettled)
    before = book(1, resting("a.1"))
    assert isinstance(compare(before, said(3), book(1), NOTHING), Unsettled)


@pytest.mark.parametrize("theirs", [said(0), said(1, reported("a.1", 1))])
def test_an_order_of_ours_that_went_on_at_the_broker_is_asked_about_and_not_judged(theirs):
    ours = book(0, resting("a.1", 0))
    assert isinstance(compare(ours, theirs, ours, NOTHING), Unsettled)


def test_what_was_set_aside_is_no_difference_until_it_changes():
    aside = Aside(positions={"BTC_USDT": D(5)}, orders=frozenset({"b-web"}))
    theirs = said(7, reported("web", 0))
    assert compare(book(2), theirs, book(2), aside) == Agreed()
    found = compare(book(2), said(6), book(2), aside)
    assert isinstance(found, Differs)
    assert found.found[0].lots == D(-1)


def test_what_was_set_aside_and_is_gone_is_set_aside_no_more():
    aside = Aside(positions={"BTC_USDT": D(5)}, orders=frozenset({"b-web"}))
    left = still_aside(aside, book(2), said(2))
    assert left == Aside()
    assert compare(book(2), said(2), book(2), left) == Agreed()


def test_both_sides_of_a_hedged_symbol_are_one_position():
    long = BrokerPosition(symbol="X", qty=D(5), avg_px=None, unrealised_pnl=None, side="long")
    short = msgspec.structs.replace(long, qty=D(-2), side="short")
    assert theirs_of([long, short], []).positions == {"X": D(3)}
    assert theirs_of([long, msgspec.structs.replace(short, qty=D(-5))], []).positions == {}
