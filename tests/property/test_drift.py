"""Comparing two books: whatever they hold, agreement and difference are each other's opposite."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fanout.drift import Agreed, Aside, Differs, Ours, Theirs, compare, positions

LOTS = st.integers(-50, 50).filter(bool).map(Decimal)
HELD = st.dictionaries(st.sampled_from(["A", "B", "C", "D"]), LOTS, max_size=4)


@given(HELD, HELD)
def test_settled_books_agree_exactly_where_they_are_the_same(ours, theirs):
    book = Ours(positions=ours)
    found = compare(book, Theirs(positions=theirs), book, Aside())
    assert isinstance(found, Agreed if ours == theirs else Differs)


@given(HELD, HELD)
def test_a_book_that_takes_up_every_difference_agrees(ours, theirs):
    said = Theirs(positions=theirs)
    held = dict(ours)
    for one in positions(Ours(positions=ours), said, Aside()):
        held[one.subject] = held.get(one.subject, Decimal(0)) + one.lots
    after = Ours(positions={symbol: qty for symbol, qty in held.items() if qty})
    assert compare(after, said, after, Aside()) == Agreed()


@given(HELD, HELD)
def test_a_book_agrees_once_every_difference_is_set_aside(ours, theirs):
    book, said = Ours(positions=ours), Theirs(positions=theirs)
    aside = {one.subject: one.lots for one in positions(book, said, Aside())}
    assert compare(book, said, book, Aside(positions=aside)) == Agreed()
