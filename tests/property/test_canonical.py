"""Our canonical JSON against the rfc8785 package, inside the profile; refusal outside it."""

from __future__ import annotations

import unicodedata

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from audit import canonical
from audit.malformed import Malformed

KEYS = st.text(st.characters(max_codepoint=127), max_size=12)
TEXTS = st.text(max_size=30).map(lambda text: unicodedata.normalize("NFC", text))
INTEGERS = st.integers(-canonical.SAFE_INTEGER, canonical.SAFE_INTEGER)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)


@given(OBJECTS)
def test_in_the_profile_our_bytes_are_rfc_8785s(value):
    data = canonical.encode(value)
    assert data == rfc8785.dumps(value)
    assert canonical.decode(data) == value


@pytest.mark.parametrize(
    "value",
    [
        {"a": 1.0},
        {"a": float("nan")},
        {"a": 2**53},
        {"ä": 1},
        {1: 2},
        {"a": "e\u0301"},
        {"a": "\ud800"},
        {"a": (1,)},
        {"a": b"x"},
        {"a": "x" * 17_000},
    ],
)
def test_what_leaves_the_profile_is_refused(value):
    with pytest.raises(Malformed):
        canonical.encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b'{"a":1.0}',
        b'{"a":01}',
        b'{"a":"\\u0041"}',
        b"[1]",
        b"",
        b"\xff",
        b'{"a":-0}',
        b'{"a":1e3}',
    ],
)
def test_any_other_spelling_is_refused(data):
    with pytest.raises(Malformed):
        canonical.decode(data)
