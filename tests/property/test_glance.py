"""The fast reading of a leaf and the careful one never disagree."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from audit import canonical, record
from audit.malformed import Malformed

TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["a", 'q"', "b\\", "é"])
COUNT = st.integers(0, 2**54) | st.sampled_from([0, 1, 2, 10**15 - 1, 10**15, 2**53 - 1, 2**53])


@st.composite
def leaves(draw):
    """Leaves as compose() writes them, and such as it would not."""
    on = draw(st.none() | COUNT)
    values = {
        "log": draw(TEXT), "index": draw(COUNT), "ts_ns": draw(st.integers(0, 10**18)),
        "rt_ns": draw(st.integers(0, 10**18)), "kind": draw(TEXT), "retention": draw(TEXT),
        "clock": draw(st.dictionaries(TEXT, st.none() | COUNT | TEXT, max_size=3)),
        "actor": draw(st.dictionaries(TEXT, TEXT, max_size=3)), "commitment": bytes(32),
        "oid": None if on is None else draw(TEXT), "on": on,
        "op": draw(st.none() | st.just(bytes(32))), "acct": draw(st.none() | TEXT),
        "sup": draw(st.none() | COUNT), "cor": draw(st.none() | TEXT),
    }  # fmt: skip
    try:
        return record.compose(**values)
    except Malformed:
        return b"{}"


def carefully(data):
    try:
        leaf = record.read(data)
    except Malformed as error:
        return str(error)
    return (leaf.log, leaf.index, leaf.recorded, leaf.kind, leaf.oid, leaf.on, leaf.op)


def fast(data):
    try:
        return tuple(record.glance(data))
    except Malformed as error:
        return str(error)


USUAL = record.compose(
    log="log.test/1", index=4, ts_ns=5, rt_ns=6, clock={"err": None, "src": "system"}, kind="k",
    actor={"id": "x", "kind": "sys"}, retention="trade", commitment=bytes(32), oid="o", on=2,
    op=bytes(32), acct="a", cor="c",
)  # fmt: skip


@given(leaves())
@example(USUAL)
def test_both_find_the_same_in_any_leaf(data):
    assert fast(data) == carefully(data)


@given(leaves())
def test_a_leaf_that_is_written_member_by_member_is_canonical(data):
    """spell() knows the order of the members and how each is spelled; canonical.encode() decides."""
    assert canonical.encode(json.loads(data)) == data


@given(st.integers(0, len(USUAL) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_both_refuse_the_same_changes(at, change, cut):
    data = USUAL[:at] + change + USUAL[at + cut :]
    assert fast(data) == carefully(data)


def test_any_byte_of_the_usual_leaf_may_change_and_both_read_alike():
    for at in range(len(USUAL)):
        for byte in range(at % 5, 256, 5):
            data = USUAL[:at] + bytes([byte]) + USUAL[at + 1 :]
            assert fast(data) == carefully(data), data


def test_a_leaf_of_more_than_16_kib_is_refused_by_both():
    data = USUAL.replace(b'"cor":"c"', b'"cor":"' + b"c" * 16_384 + b'"')
    assert fast(data) == carefully(data)
    assert "at most" in fast(data)
