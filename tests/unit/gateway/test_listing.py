"""Times as ranges of ids, and cursors: what goes in comes out, and nothing else is taken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.errors import Malformed
from gateway.admin.fills import FillKey
from gateway.admin.listing import OrderKey, first_id, read_key, write_key
from tenancy.ids import new_id

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))


@given(TIMES, TIMES)
def test_an_id_is_in_a_range_of_times_where_its_millisecond_is(at: datetime, bound: datetime):
    """`bound` is the first moment that counts: an id of an earlier millisecond is before it."""
    ms = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    some = UUID(int=ms << 80 | 7 << 76 | 2 << 62)
    first = first_id(bound)
    assert first is not None
    received = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    assert (some >= first) == (received >= bound)


def test_a_fresh_id_is_of_now():
    now = datetime.now(UTC)
    before, after = first_id(now - timedelta(seconds=1)), first_id(now + timedelta(seconds=1))
    assert before is not None
    assert after is not None
    assert before < new_id() < after


@given(st.tuples(st.uuids(), st.uuids(), st.integers(0, 32767), st.integers(0, 32767)))
def test_a_key_survives_its_cursor(key: tuple[UUID, UUID, int, int]):
    assert read_key(write_key(key), OrderKey) == key


@given(
    st.tuples(TIMES, st.text("abc019.:", min_size=1, max_size=28), st.text("abc019.:", min_size=1))
)
def test_a_fills_key_survives_its_cursor(key: tuple[datetime, str, str]):
    assert read_key(write_key(key), FillKey) == key


@given(st.text("ABCDEFGHabcdefgh0123_-", max_size=60))
def test_what_was_never_written_is_refused_and_breaks_nothing(text: str):
    with pytest.raises(Malformed):
        read_key(text, OrderKey)


def test_no_cursor_is_no_key():
    assert read_key(None, OrderKey) is None
    assert write_key(None) is None
