"""A soak's verdict: what grows is found, what only wavers is not."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from ops.load.__main__ import _lines
from ops.load.figures import StepFigures
from ops.load.page import page
from ops.load.picture import draw_soak
from ops.load.soak import growths, line
from tests.unit.ops.test_load import figures, report, sample, step

WINDOWS = 12
Series = Callable[[int], float]


def windows(
    memory: Series = lambda _: 100.0,
    files: Series = lambda _: 50.0,
    threads: Series = lambda _: 10.0,
) -> list[StepFigures]:
    """Twelve; of the workers, and of generators that do as they like."""
    usual = figures(step(), [], {}, sample(100, worker=0.0), sample(110, worker=1.0))
    return [
        msgspec.structs.replace(
            usual,
            memory_mb={"worker": memory(place), "locust": 100.0 + 50 * place},
            files={"worker": int(files(place)), "locust": 10 * place},
            threads={"worker": int(threads(place))},
        )
        for place in range(WINDOWS)
    ]


def grew(made: list[StepFigures]) -> list[tuple[str, str]]:
    return [(one.group, one.count) for one in growths(made) if one.grew]


def test_what_stays_has_not_grown():
    assert grew(windows()) == []
    assert {one.group for one in growths(windows())} == {"worker"}, "generators are no part of it"


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"memory": lambda place: 100 + 2.0 * place}, ("worker", "MB of its own")),
        ({"files": lambda place: 50 + place}, ("worker", "open files")),
        ({"threads": lambda place: 10 + place // 2}, ("worker", "threads")),
    ],
)
def test_what_leaks_a_little_in_each_window_is_found(
    changed: dict[str, Series], found: tuple[str, str]
):
    assert grew(windows(**changed)) == [found]
    assert growths(windows(**changed))[0].grew, "it is told first"


def test_what_fills_once_at_the_beginning_has_not_grown():
    assert grew(windows(memory=lambda place: min(100 + 40 * place, 220))) == []


def test_one_odd_window_is_no_growth_and_hides_none():
    assert grew(windows(memory=lambda place: 400.0 if place == 11 else 100.0)) == []
    leaking = windows(memory=lambda place: 20.0 if place == 11 else 100.0 + 3 * place)
    assert grew(leaking) == [("worker", "MB of its own")]


def test_the_line_is_that_of_the_median_slope():
    assert line([1.0, 2.0, 3.0, 4.0]) == (1.0, 4.0)
    assert line([5.0, 5.0, 500.0, 5.0, 5.0]) == (5.0, 5.0)


def test_too_few_windows_say_so():
    with pytest.raises(ValueError, match="windows: 3 or more, not 2"):
        growths(windows()[:2])


def test_growth_is_told_on_the_page_in_words_and_by_the_status(tmp_path):
    made = windows(memory=lambda place: 100 + 2.0 * place)
    told = msgspec.structs.replace(report(made), growths=growths(made))
    assert not told.well
    assert msgspec.structs.replace(report(made), growths=growths(windows())).well
    text = page(told, draw_soak(told.steps, told.samples, 100))
    assert "something grew" in text
    assert "The knee" not in text
    assert "worker, MB of its own: 106 to 122, GREW" in _lines(told, tmp_path)
