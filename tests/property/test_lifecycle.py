"""Reports may come in any order, late and twice: what is true in the end is the same."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from fanout.lifecycle import advance
from fanout.order import FINAL, OrdState
from fanout.ports import Report
from tests.builders import order, report

S = OrdState
ORDER = order(order_qty=Decimal(10))

ENDS = [S.CANCELED, S.EXPIRED, S.REJECTED, S.FILLED]
known_before = st.sampled_from([S.INTENT, S.IN_DOUBT, S.NEW, S.UNSENT, S.ABSENT, S.DENIED])


def heard(state: OrdState, cum: int) -> Report:
    price = Decimal(100 + cum) if cum else None
    return report(ORDER, state, cum_qty=Decimal(cum), avg_px=price)


@st.composite
def stories(draw: st.DrawFn) -> list[Report]:
    """Whatever a broker may say of one order: growing fills, one kind of end, fills that crossed it."""
    end = draw(st.sampled_from(ENDS))
    cums = draw(st.sampled_from([[0], [0, 3], [0, 3, 5, 10, 12]]))
    said = draw(
        st.lists(
            st.tuples(st.sampled_from([S.NEW, S.PARTIALLY_FILLED, end]), st.sampled_from(cums)),
            min_size=1, max_size=6,
        )
    )  # fmt: skip
    return [heard(state, cum) for state, cum in said if cum or state is not S.PARTIALLY_FILLED]


def folded(first: OrdState, reports: list[Report]) -> tuple[OrdState, Decimal, Decimal, Decimal]:
    """State and quantity in the end; lots and money that went into the position on the way."""
    state, cum, avg = first, Decimal(0), None
    lots = paid = Decimal(0)
    for one in reports:
        progress = advance(state, cum, avg, one, order_qty=ORDER.order_qty)
        if progress is None:
            continue
        state, cum, avg = progress.state, progress.cum_qty, progress.avg_px
        lots += progress.last_qty
        if progress.last_px is not None:
            paid += progress.last_qty * progress.last_px
    return state, cum, lots, paid.quantize(Decimal("1e-9"))


@settings(deadline=None, max_examples=300)
@given(known_before, stories(), st.data())
def test_in_whatever_order_reports_arrive_the_end_is_the_same(
    first: OrdState, said: list[Report], data: st.DataObject
) -> None:
    once = folded(first, said)
    again = folded(
        first, data.draw(st.permutations([*said, *data.draw(st.lists(st.sampled_from(said)))]))
        if said else [],
    )  # fmt: skip
    assert again == once


@settings(deadline=None)
@given(known_before, stories())
def test_a_position_has_the_most_that_was_reported_exactly_once(
    first: OrdState, said: list[Report]
) -> None:
    _, cum, lots, paid = folded(first, said)
    most = max((one.cum_qty for one in said), default=Decimal(0))
    assert cum == lots == most
    assert paid == most * (100 + most)


@settings(deadline=None)
@given(known_before, stories())
def test_an_order_that_its_broker_shows_open_with_the_most_filled_is_followed(
    first: OrdState, said: list[Report]
) -> None:
    """Else nobody would ask for the rest of it. Whatever ended before is an end no more."""
    state, cum, _, _ = folded(first, said)
    told = {one.ord_status for one in said if one.cum_qty == cum}
    if cum > 0:
        assert (state in FINAL) == bool(told & FINAL)


@settings(deadline=None)
@given(known_before, stories())
def test_what_surprises_is_said_whenever_the_book_had_ruled_it_out(
    first: OrdState, said: list[Report]
) -> None:
    state, cum, avg = first, Decimal(0), None
    for one in said:
        progress = advance(state, cum, avg, one, order_qty=ORDER.order_qty)
        if progress is None:
            continue
        if state in FINAL or one.cum_qty > ORDER.order_qty:
            assert progress.surprising
        state, cum, avg = progress.state, progress.cum_qty, progress.avg_px
