"""How often a signal that is held up is asked for."""

from __future__ import annotations

import pytest

from fanout.intake import POLL_MOST_S, WAITED_SHARE, again_in_s
from fanout.planner import POLL_S


@pytest.mark.parametrize("ends_s", [0.015, 0.1, 0.25, 1.0, 60.0])
def test_a_signal_that_waits_is_planned_soon_after_it_may_be_and_asked_for_seldom(
    ends_s: float,
) -> None:
    waited_s, asked = 0.0, 0
    while waited_s < ends_s:
        waited_s += again_in_s(waited_s)
        asked += 1
    assert waited_s - ends_s <= max(POLL_S, min(POLL_MOST_S, WAITED_SHARE * ends_s)) + 1e-9
    assert asked <= 16 + ends_s / POLL_MOST_S
