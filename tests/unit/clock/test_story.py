"""What becomes worse is said at once, what is well again after ten seconds, and every hour how it was."""

from __future__ import annotations

from uuid import UUID

from ops.clock.story import Look, Note, Story
from ops.clock.watch import jump_ns
from tenancy.clock_quality import SECOND, Instants, Quality, unmeasured

MS = 1_000_000
FUND = UUID(int=7)


def by(err_ns: int | None) -> Quality:
    if err_ns is None:
        return unmeasured("silent")
    return Quality("ok" if err_ns <= 50 * MS else "degraded", "chrony", err_ns)


def told(
    story: Story, seconds: float, err_ns: int | None, **tiers: str
) -> list[tuple[object, ...]]:
    now = int(seconds * SECOND)
    look = Look(wall_ns=1000 * SECOND + now, boottime_ns=now, quality=by(err_ns))
    named = {UUID(int=int(name[1:])): tier for name, tier in tiers.items()}
    return [_short(note) for note in story.look(look, named)]


def _short(note: Note) -> tuple[object, ...]:
    return (note.facts["event"], note.tenant, note.facts["err_ns"])


def test_a_start_says_how_the_clock_is():
    assert told(Story("a host"), 1, None) == [("began", None, None)]


def test_worse_is_said_at_once_and_better_after_ten_seconds():
    story = Story("a host")
    told(story, 0, MS)
    assert told(story, 1, 80 * MS) == [("state", None, 80 * MS)]
    assert told(story, 2, None) == [("state", None, None)]
    assert told(story, 3, MS) == []
    assert told(story, 12.9, MS) == []
    assert told(story, 13, MS) == [("state", None, MS)]


def test_a_clock_that_wavers_fills_no_log():
    story = Story("a host")
    told(story, 0, MS)
    said = [note for s in range(1, 100) for note in told(story, s, 80 * MS if s % 2 else MS)]
    assert said == [("state", None, 80 * MS)]


def test_a_tenant_hears_of_its_own_tier_alone():
    story = Story("a host")
    told(story, 0, MS // 2, t7="mifid_1ms", t8="finra_50ms")
    assert told(story, 1, 2 * MS, t7="mifid_1ms", t8="finra_50ms") == [("over_tier", FUND, 2 * MS)]
    assert told(story, 2, 2 * MS, t7="mifid_1ms", t8="finra_50ms") == []
    assert told(story, 3, MS, t7="mifid_1ms", t8="finra_50ms") == []
    assert told(story, 13, MS, t7="mifid_1ms", t8="finra_50ms") == [("within_tier", FUND, MS)]


def test_a_tier_that_is_not_met_when_it_is_set_is_said():
    story = Story("a host")
    assert told(story, 0, 2 * MS, t7="mifid_1ms")[1:] == [("over_tier", FUND, 2 * MS)]
    assert told(story, 1, 2 * MS, t7="mifid_100us") == [("over_tier", FUND, 2 * MS)]
    assert told(story, 2, 2 * MS, t7="finra_50ms") == []


def test_every_hour_says_the_worst_bound_of_it():
    story = Story("a host")
    told(story, 0, MS)
    for s in range(1, 3600):
        assert told(story, s, 3 * MS if s == 77 else MS) == []
    look = Look(wall_ns=0, boottime_ns=3600 * SECOND, quality=by(MS))
    (note,) = story.look(look, {})
    assert (note.facts["event"], note.facts["worst_err_ns"]) == ("sync", 3 * MS)
    assert told(story, 7199, None) == [("state", None, None)]
    (note,) = story.look(Look(wall_ns=0, boottime_ns=7200 * SECOND, quality=by(MS)), {})
    assert note.facts["worst_err_ns"] is None  # an hour with a moment without a bound has none


def instants(seconds: float, stepped_ns: int = 0, width_ns: int = 0) -> Instants:
    return Instants(
        boot="one",
        boottime_ns=int(seconds * SECOND),
        offset_ns=5 + stepped_ns,
        uncertainty_ns=width_ns,
    )


def test_a_process_sees_a_jump_by_its_own_two_clocks():
    assert jump_ns(instants(1), instants(900, 2 * MS)) == 2 * MS
    assert jump_ns(instants(1), instants(2, -SECOND)) == -SECOND


def test_time_that_passes_while_the_machine_sleeps_is_no_jump():
    """Time since boot goes on meanwhile; so no lease is longer than it was."""
    assert jump_ns(instants(1), instants(90_000)) == 0


def test_being_put_to_sleep_between_two_reads_is_no_jump():
    assert jump_ns(instants(1), instants(2, 30 * MS, width_ns=40 * MS)) == 0
