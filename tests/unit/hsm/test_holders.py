"""M of N: any M phrases open the held PINs, fewer tell nothing, and nothing typed is repeated."""

from __future__ import annotations

from itertools import combinations

import msgspec
import pytest

from hsm.errors import PinRefused
from hsm.holders import gather, new_phrases, seal, unseal
from tenancy.errors import Invalid

PINS = {"sign": "a" * 32, "sign so": "b" * 32}


def typing(*phrases: str):
    """What the holders type, one after the other, and what they were asked."""
    left, asked = list(phrases), []

    def ask(question: str) -> str:
        asked.append(question)
        return left.pop(0)

    return ask, asked


def test_any_two_of_three_open_what_was_held():
    secret, phrases = new_phrases(2, 3)
    data = seal(PINS, secret)
    assert all(len(phrase.split()) == 20 for phrase in phrases)
    for two in combinations(phrases, 2):
        ask, asked = typing(*two)
        assert unseal(data, gather(ask)) == PINS
        assert asked == ["Phrase of a holder: ", "Phrase of holder 2 of 2: "]


def test_one_holder_twice_is_one_holder():
    _, phrases = new_phrases(2, 3)
    ask, asked = typing(phrases[0], phrases[0], "")
    with pytest.raises(PinRefused, match="typed nothing"):
        gather(ask)
    assert asked[1] == asked[2] == "Phrase of holder 2 of 2: "


def test_blanks_and_capitals_do_not_matter():
    secret, phrases = new_phrases(2, 2)
    ask, _ = typing(f"  {phrases[0].upper()}  ", phrases[1].replace(" ", "   "))
    assert gather(ask) == secret


def test_a_mistyped_phrase_is_asked_for_again_and_not_quoted():
    """What is asked is the same whatever was typed: so nothing of it is quoted."""
    seen = []
    for typo in ("secretword", "otherword"):
        secret, phrases = new_phrases(2, 2)
        words = phrases[0].split()
        wrong = [" ".join([*words[:-1], "academic"]), f"{typo} " + " ".join(words[1:]), words[0]]
        ask, asked = typing(*wrong, *phrases)
        assert gather(ask) == secret
        assert len(asked) == 5
        seen.append(asked)
    assert seen[0] == seen[1]
    assert "secretword" not in "".join(seen[0])


def test_a_holder_of_other_tokens_is_told_so():
    _, phrases = new_phrases(2, 2)
    _, others = new_phrases(2, 2)
    ask, asked = typing(phrases[0], others[1], "")
    with pytest.raises(PinRefused):
        gather(ask)
    assert "belongs to other tokens" in asked[2]


def test_the_file_opens_with_its_own_secret_alone_and_not_where_it_was_altered():
    secret, _ = new_phrases(2, 2)
    data = seal(PINS, secret)
    with pytest.raises(PinRefused, match="does not open"):
        unseal(data, bytes(16))
    told = msgspec.json.decode(data)
    told["salt"] = told["nonce"] + "AAAA"
    with pytest.raises(PinRefused, match="does not open"):
        unseal(msgspec.json.encode(told), secret)
    with pytest.raises(Invalid, match="cannot be read"):
        unseal(b"{}", secret)
    assert not any(pin.encode() in data for pin in PINS.values())


@pytest.mark.parametrize(("quorum", "holders"), [(1, 3), (0, 0), (4, 3), (2, 17), (-1, 2)])
def test_a_quorum_that_is_none_is_refused(quorum, holders):
    with pytest.raises(Invalid, match="at least 2"):
        new_phrases(quorum, holders)
