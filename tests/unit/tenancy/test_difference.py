"""The difference that a second person reads."""

from __future__ import annotations

import pytest

from tenancy.difference import difference


def _words(before, after):
    return [entry.words for entry in difference(before, after)]


def test_the_same_document_has_no_difference():
    document = {"name": "trend", "limits": {"max_order_quantity": "5"}, "tickers": ["BTC"]}
    assert difference(document, dict(document)) == ()
    assert difference(None, None) == ()


def test_a_nested_member_is_named_by_its_path_with_both_values():
    (entry,) = difference(
        {"name": "a", "limits": {"max_order_quantity": "5"}},
        {"name": "a", "limits": {"max_order_quantity": "10"}},
    )
    assert (entry.path, entry.before, entry.after) == ("limits.max_order_quantity", "5", "10")
    assert entry.words == "limits.max_order_quantity changes from 5 to 10."


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {"name": "trend one"}, 'name is set to "trend one".'),
        ({"limit": "5"}, {}, "limit is no longer set (it was 5)."),
        ({"live": False}, {"live": True}, "live is switched on."),
        ({"live": True}, {"live": False}, "live is switched off."),
        ({"n": 1}, {"n": 2}, "n changes from 1 to 2."),
        ({"n": True}, {"n": 1}, "n changes from on to 1."),
        ({"four_eyes": ["limits", "roles"]}, {"four_eyes": ["live", "roles"]},
         "four_eyes gains live and loses limits."),
        ({"four_eyes": ["limits"]}, {"four_eyes": []},
         "four_eyes loses limits, and is empty then."),
        ({"order": ["a", "b"]}, {"order": ["b", "a"]}, 'order changes its order to ["b","a"].'),
    ],
)  # fmt: skip
def test_a_change_is_said_in_plain_words(before, after, words):
    assert _words(before, after) == [words]


def test_a_member_that_is_null_is_one_that_is_absent():
    assert difference({"a": None, "limits": {}}, {"tickers": []}) == ()


def test_a_new_document_sets_each_of_its_members_and_one_that_goes_takes_them_away():
    document = {"name": "trend", "limits": {"max_order_quantity": "5"}}
    assert [entry.path for entry in difference(None, document)] == [
        "limits.max_order_quantity",
        "name",
    ]
    assert _words(document, None) == [
        "limits.max_order_quantity is no longer set (it was 5).",
        "name is no longer set (it was trend).",
    ]


def test_lists_of_documents_are_compared_entry_by_entry():
    before = {"windows": [{"opens": "09:00"}, {"opens": "13:00"}]}
    after = {"windows": [{"opens": "09:30"}]}
    assert _words(before, after) == [
        "windows[0].opens changes from 09:00 to 09:30.",
        "windows[1].opens is no longer set (it was 13:00).",
    ]


def test_a_name_that_holds_a_dot_cannot_be_taken_for_a_path():
    (entry,) = difference({}, {"symbols": {"BRK.B": "BRK/B"}})
    assert entry.path == 'symbols["BRK.B"]'


def test_a_long_value_is_cut_in_the_sentence_only():
    (entry,) = difference({}, {"note": "x" * 500})
    assert len(entry.words) < 120
    assert entry.after == "x" * 500


def test_a_member_that_turns_from_a_value_into_a_document_is_one_difference():
    (entry,) = difference({"a": "1"}, {"a": {"b": "1"}})
    assert (entry.path, entry.before, entry.after) == ("a", "1", {"b": "1"})
