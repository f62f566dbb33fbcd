"""Which answers of Gate.io about a key are a yes: one that we can read, of this key, that moves no money."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.brokers.gate.keys import MOVES_MONEY, TRADES, judged
from fanout.brokers.gate.reading import Unreadable
from fanout.proof import NotProven, Proof, Proven, of_the_same_user
from fanout.proving import is_news
from fanout.proving_rows import Said

KEY = "c5dcfbf1f3a70123456789abcdef0123"


def detail(user: int = 1, mode: int = 1) -> bytes:
    return json.dumps({"user_id": user, "key": {"mode": mode}, "ip_whitelist": []}).encode()


def entry(*perms: str, **more: Any) -> dict[str, Any]:
    """`perms`: names; those that end in `:r` only read."""
    shown = [{"name": p.removesuffix(":r"), "read_only": p.endswith(":r")} for p in perms]
    return {"state": 1, "user_id": 1, "perms": shown, "key": KEY[:12] + "*****", **more}


def ask(*entries: dict[str, Any], one: bool = False) -> Proof:
    keys = entries[0] if one else list(entries)
    return judged(KEY, detail(), json.dumps(keys).encode())


def test_the_entry_is_found_by_the_characters_that_gate_shows_of_it():
    wallet = entry("futures", "wallet", key="52fd0035f665*****")
    assert isinstance(ask(wallet, entry("futures")), Proven)
    assert isinstance(ask(entry("futures", "wallet"), entry("futures", key="52fd*****")), NotProven)


@pytest.mark.parametrize("key", [None, {"mode": 1}, "*****", "c5*****"])
def test_an_entry_that_does_not_say_whose_it_is_counts_as_ours(key: Any):
    """Perhaps it is: then its rights are this key's."""
    proof = ask(entry("futures"), entry("futures", "wallet", key=key))
    assert isinstance(proof, NotProven)
    assert proof.code == "can_withdraw"


def test_a_key_that_is_not_listed_is_refused():
    proof = ask(entry("futures", key="52fd0035f665*****"))
    assert isinstance(proof, NotProven)
    assert proof.code == "scope_unknown"


@given(
    st.sets(st.sampled_from(sorted(TRADES | MOVES_MONEY)) | st.text(min_size=1, max_size=12)),
    st.booleans(),
    st.booleans(),
)
def test_no_set_of_permissions_that_moves_money_or_is_unknown_is_ever_proven(
    names: set[str], reads: bool, one: bool
):
    perms = [name + (":r" if reads and name != "futures" else "") for name in sorted(names)]
    proof = ask(entry(*perms), one=one)
    writes = set() if reads else names
    good = "futures" in names and names <= TRADES | MOVES_MONEY and not writes & MOVES_MONEY
    plain = all(not name.endswith(":r") for name in names)
    if plain:
        assert isinstance(proof, Proven) == good


@pytest.mark.parametrize(
    "keys",
    [
        b"{}",
        b'{"user_id": 1, "perms": [{"name": "futures"}]}',
        b'{"user_id": 1, "perms": "futures"}',
        b'{"user_id": 1, "perms": [{"name": "futures", "read_only": "no"}]}',
        b'{"user_id": 2, "state": 1, "perms": [{"name": "futures", "read_only": false}]}',
        b"null",
    ],
)
def test_an_answer_of_another_shape_or_about_somebody_else_is_no_yes(keys: bytes):
    with pytest.raises(Unreadable):
        judged(KEY, detail(), keys)


def test_a_permission_that_says_nothing_of_its_state_is_no_yes():
    listed = json.dumps({**entry("futures"), "state": 0}).encode()
    proof = judged(KEY, detail(), listed)
    assert isinstance(proof, NotProven)
    assert proof.code == "locked"


def test_another_user_is_another_account_and_an_unknown_one_is_not_held_against_a_key():
    proof = Proven(broker_user="2")
    refused = of_the_same_user(proof, "1")
    assert isinstance(refused, NotProven)
    assert refused.code == "other_user"
    assert of_the_same_user(proof, "2") is proof
    assert of_the_same_user(proof, None) is proof
    assert of_the_same_user(Proven(), "1") == Proven()


def test_news_is_another_verdict_or_another_scope():
    before = Said("", ("futures:write",), "1")
    assert is_news(None, Proven())
    assert not is_news(before, Proven(scopes=("futures:write",)))
    assert is_news(before, Proven(scopes=("futures:write", "spot:read")))
    assert is_news(before, NotProven(code="key", words="no", scopes=("futures:write",)))
