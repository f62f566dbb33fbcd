"""The decoder among hostile bodies: nothing but InvalidSignal escapes, and what is accepted is sound.

`python -m tests.longer.fuzz_decoder` is the same with a million.
"""

from __future__ import annotations

from itertools import islice

import pytest

from fanout.signal import InvalidSignal
from tests.hostile_signals import bodies, check


@pytest.mark.parametrize("seed", [11, 12])
def test_whatever_is_sent_is_a_sound_signal_or_one_short_refusal(seed: int):
    outcomes = [check(body) for body in islice(bodies(seed), 10_000)]
    refused = sum(isinstance(outcome, InvalidSignal) for outcome in outcomes)
    assert 1000 < refused < 9000, "both happen often"


def test_the_same_seed_gives_the_same_bodies():
    assert list(islice(bodies(5), 100)) == list(islice(bodies(5), 100))
