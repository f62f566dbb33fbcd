"""Scenarios of the load test: how many send when, and what steady senders noticed of the loud ones."""

from __future__ import annotations

from uuid import UUID

import pytest

from loadtest.swarm.run import Asked, Sent
from ops.bench.crowd import Following
from ops.load.picture import draw_scene
from ops.load.scene import Moment, Part, Scene, scene
from ops.load.settings import WINDOWS, Noise, Scenario, Settings
from ops.load.usage import Sample
from ops.load.waves import loud_wave, main_wave
from ops.trial.sender import Hook
from tenancy.values import StrategyID


def settings(scenario: Scenario, **changed: object) -> Settings:
    usual = {"tenants": 2, "strategies": 10, "pace_per_s": 2.0, "start_per_s": 10.0}
    return Settings(scenario=scenario, **{**usual, **changed})  # type: ignore[arg-type]


def test_a_loud_neighbour_sends_so_many_times_its_own_share():
    """Ten a second of two tenants: a share is five, twenty times that a hundred, of which five are sent anyway."""
    asked = settings("neighbour")
    assert (asked.factor, asked.steady, asked.loud) == (20, 5, 48)
    assert (asked.steady / 2 + asked.loud) * asked.pace_per_s == pytest.approx(100, abs=2)


def test_an_overload_is_so_many_knees_of_all_together():
    asked = settings("overload", noise=Noise(factor=5))
    assert (asked.steady, asked.loud) == (3, 22)
    assert (asked.steady + asked.loud) * asked.pace_per_s == 50


def test_a_neighbour_without_others_is_refused():
    with pytest.raises(ValueError, match="tenants: a neighbour has others beside it"):
        settings("neighbour", tenants=1)


@pytest.mark.parametrize(
    ("changed", "words"), [({"factor": 1.0}, "factor: more"), ({"loud_s": 0.0}, "loud_s: more")]
)
def test_noise_that_cannot_be_is_refused(changed: dict[str, float], words: str):
    with pytest.raises(ValueError, match=words):
        Noise(**changed)


def following(number: int) -> Following:
    return Following(StrategyID(UUID(int=number)), Hook(f"h{number}", "s"), ())


TENANTS = [[following(0), following(1)], [following(10), following(11)]]
CROWD = [following(0), following(10), following(1), following(11)]


def test_who_is_loud_depends_on_the_scenario():
    assert loud_wave(TENANTS, CROWD, settings("neighbour")).strategies == TENANTS[0]
    assert loud_wave(TENANTS, CROWD, settings("overload")).strategies == CROWD


def test_steady_senders_are_as_many_all_the_time_and_outlast_the_loud_ones():
    asked = settings("neighbour", noise=Noise(quiet_s=5, loud_s=7, after_s=9))
    main, loud = main_wave(CROWD, asked), loud_wave(TENANTS, CROWD, asked)
    assert (main.search.start, main.search.most, main.search.tries) == (5, 5, 1)
    assert (loud.search.start, loud.search.most, loud.search.tries) == (48, 48, 1)
    assert loud.timing.measure_s == 7
    assert main.timing.measure_s > 5 + 7 + 9
    assert (main.api_users, loud.api_users, loud.streams) == (asked.api_users, 0, 0)


def test_the_search_is_as_it_was_asked_for():
    main = main_wave(CROWD, settings("knee", most_per_s=20.0, tries=3))
    assert (main.search.start, main.search.most, main.search.tries) == (5, 10, 3)


def test_a_soak_is_one_rate_measured_as_often_as_there_are_windows():
    asked = settings("soak", soak_s=120.0)
    main = main_wave(CROWD, asked)
    assert (main.search.start, main.search.times) == (5, WINDOWS)
    assert WINDOWS * (main.timing.settle_s + main.timing.measure_s) == pytest.approx(120)
    with pytest.raises(ValueError, match=r"minutes: 1\.2 or more, not 1"):
        settings("soak", soak_s=60.0)


LOUD_FROM, LOUD_TO = 100.0, 110.0


def sent(
    hook: str, at: float, took_s: float = 0.01, status: int = 202, *, told: bool = False
) -> Sent:
    return Sent(
        message_id=f"{hook}-{at}", body="{}", status=status, hook_id=hook, intended_at=at, sent_at=at,
        signal_id=f"s-{hook}-{at}" if status == 202 else None, took_s=took_s, told_when=told,
    )  # fmt: skip


LOUD = [
    sent("a", LOUD_FROM), sent("a", 104, 0.002, 429, told=True), sent("a", 105, 0.004, 503),
    sent("a", 106, 4.0, 0),
]  # fmt: skip


def seen(*steady: Sent, loud: list[Sent] = LOUD, asked: tuple[Asked, ...] = ()) -> Scene:
    return scene(
        sorted(steady, key=lambda one: one.intended_at), loud, asked, tenants={"a": 0, "b": 1},
        loud_tenants=[0], arrivals={"s-b-99": [99.5, 99.75]}, p99_limit_ms=100,
    )  # fmt: skip


def part(made: Scene, who: str, when: str) -> Part:
    (found,) = [one for one in made.parts if (one.who, one.when) == (who, when)]
    return found


def test_others_are_told_apart_from_the_loud_tenant_and_before_from_meanwhile():
    made = seen(
        sent("b", 99, 0.01), sent("b", 100.5, 0.03), sent("a", 101, 5.0), sent("b", 111, 0.02)
    )
    assert (made.began_s, made.ended_s) == (LOUD_FROM, LOUD_TO)
    assert made.others_p99 == pytest.approx(3)
    assert part(made, "others", "before").accepted == 1
    assert part(made, "others", "afterwards").accepted == 1
    assert part(made, "loud tenants, steady", "meanwhile").answer.p99_ms == 5000  # type: ignore[union-attr]
    last = part(made, "others", "before").last_order
    assert last is not None
    assert last.p99_ms == 750


def test_refusals_are_counted_by_status_and_by_whether_they_said_when_to_come_back():
    found = part(seen(sent("b", 99)), "loud senders", "meanwhile")
    assert (found.accepted, found.refused) == (1, {"0": 1, "429": 1, "503": 1})
    assert found.not_told_when == 1, "the 503; who got no answer was not told anything"
    assert found.refusal is not None
    assert found.refusal.p50_ms == 4


def test_programs_are_told_apart_too():
    asked = (
        Asked(tenant=1, status=200, intended_at=99, took_s=0.1),
        Asked(tenant=1, status=429, intended_at=101, took_s=0.2),
        Asked(tenant=0, status=200, intended_at=101, took_s=0.3),
    )
    made = seen(sent("b", 99), asked=asked)
    assert part(made, "others' programs", "meanwhile").refused == {"429": 1}
    assert part(made, "loud tenants' programs", "meanwhile").accepted == 1


@pytest.mark.parametrize(
    ("steady", "recovered"),
    [
        ([sent("b", 110.5), sent("b", 112)], 0),
        ([sent("b", 109, 5.0), sent("b", 112)], 0),
        ([sent("b", 112, 0.2), sent("b", 113)], 2),
        ([sent("a", 113, status=503), sent("b", 114, 0.1), sent("b", 115)], 3),
        ([sent("b", 112), sent("b", 113, 0.2)], None),
        ([sent("b", 109)], None),
    ],
)
def test_recovered_is_when_the_last_bad_one_was_meant_to_leave(
    steady: list[Sent], recovered: float | None
):
    assert seen(*steady).recovered_s == recovered


def test_each_second_says_what_was_noticed_in_it():
    made = seen(sent("b", 99.2, 0.02), sent("b", 99.9, 0.05), sent("b", 104.5, 0.5))
    moments = {one.second: one for one in made.moments}
    assert moments[-1] == Moment(second=-1, slowest_ms=50, accepted=2, refused=0)
    assert moments[4] == Moment(second=4, slowest_ms=500, accepted=1, refused=1)
    assert moments[0].slowest_ms is None, "loud senders are not the ones who are asked"


def test_nothing_loud_is_no_scene():
    with pytest.raises(ValueError, match="nothing loud"):
        seen(sent("b", 99), loud=[])


def test_a_scene_is_drawn():
    samples = [Sample(99.0 + n, {"worker": float(n)}, {"worker": 1}) for n in range(4)]
    picture = draw_scene(seen(sent("b", 99), sent("b", 104)), samples, 100)
    assert picture.startswith("<svg")
