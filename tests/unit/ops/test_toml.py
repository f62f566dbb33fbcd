"""What we write as TOML is read back as the same."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.toml import dumps

# DEL and lone surrogates cannot be in a name or a path of ours.
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), min_size=1)
scalars = words | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False)
tables = st.recursive(
    st.dictionaries(words, scalars | st.lists(scalars)),
    lambda inner: st.dictionaries(words, inner | st.lists(inner, min_size=1)),
    max_leaves=8,
)


@given(tables)
def test_written_and_read_is_the_same(document: dict[str, Any]) -> None:
    assert tomllib.loads(dumps(document)) == document


def test_none_is_left_out() -> None:
    assert dumps({"a": None, "b": 1}) == "b = 1\n"


def test_what_has_no_toml_is_refused() -> None:
    with pytest.raises(TypeError):
        dumps({"a": object()})


def test_a_table_of_tables_alone_can_be_written_behind_what_is_there() -> None:
    more = dumps({"admin": {"rates": {"credential_reads": 5}}})
    assert tomllib.loads(f"[admin]\nsocket = 's'\n{more}") == {
        "admin": {"socket": "s", "rates": {"credential_reads": 5}}
    }
