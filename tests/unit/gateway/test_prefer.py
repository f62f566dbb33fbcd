"""Which seconds a request's Prefer fields ask to wait (RFC 7240)."""

from __future__ import annotations

import pytest

from gateway.hooks.waiting import wanted_s


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ([], None),
        (["wait=10"], 10),
        (['wait="10"'], 10),
        (["Wait = 10"], 10),
        (["respond-async, wait=10"], 10),
        (["respond-async", "wait=10"], 10),
        (["wait=10; foo=bar"], 10),
        (["wait=10, wait=20"], 10),  # only the first counts
        (["wait=10", "wait=20"], 10),
        (["wait"], None),
        (["wait=ten, wait=20"], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=0"], None),
        (["wait=٣"], None),
        (['wait=5"'], None),
        (["waiting=5"], None),
        (["return=minimal"], None),
    ],
)
def test_only_a_whole_number_of_seconds_is_waited(fields, seconds):
    headers = [(b"prefer", field.encode()) for field in fields]
    assert wanted_s([(b"content-type", b"application/json"), *headers]) == seconds
