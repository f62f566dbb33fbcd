"""The leaves in memory are those of the log, without a gap, or none."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from audit.recent import Recent

ONE, TWO = UUID(int=1), UUID(int=2)


def leaf(log_id, index):
    return b"%d/%d" % (log_id.int, index), b"hash of %d" % index


@given(
    st.integers(1, 12),
    st.lists(
        st.tuples(
            st.sampled_from(["add", "gap", "take"]), st.sampled_from([ONE, TWO]), st.integers(0, 5)
        ),
        max_size=60,
    ),
)
def test_what_is_taken_is_always_what_the_rows_would_say(most, acts):
    recent, tails, published = Recent(most), {ONE: 0, TWO: 0}, {ONE: 0, TWO: 0}
    for act, log_id, count in acts:
        if act == "take":
            start = published[log_id]
            taken = recent.take(log_id, start, count)
            assert taken == [leaf(log_id, start + n) for n in range(len(taken))]
            assert len(taken) <= min(count, tails[log_id] - start)
            published[log_id] += len(taken)
            continue
        tails[log_id] += count if act == "gap" else 0  # sequenced, and not told
        recent.add(log_id, tails[log_id], *leaf(log_id, tails[log_id]))
        tails[log_id] += 1
        assert len(recent) <= most


def test_all_is_there_while_it_fits():
    recent = Recent(10)
    for index in range(5, 15):
        recent.add(ONE, index, *leaf(ONE, index))
    assert recent.take(ONE, 4, 9) == []
    assert recent.take(ONE, 7, 3) == [leaf(ONE, 7), leaf(ONE, 8), leaf(ONE, 9)]
    assert recent.take(ONE, 7, 3) == []
    assert len(recent.take(ONE, 10, 99)) == 5
    assert len(recent) == 0


def test_the_log_that_has_most_is_forgotten_first():
    recent = Recent(3)
    recent.add(TWO, 0, *leaf(TWO, 0))
    for index in range(3):
        recent.add(ONE, index, *leaf(ONE, index))
    assert recent.take(ONE, 0, 3) == []
    assert recent.take(TWO, 0, 3) == [leaf(TWO, 0)]
