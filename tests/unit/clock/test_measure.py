"""From one look to the next report: steps are carried, silence is held over, no source is no bound."""

from __future__ import annotations

import msgspec
import pytest

from ops.clock.kernel import Kernel, read_kernel
from ops.clock.measure import HOLDOVER_NS, Look, next_report
from tenancy.clock_quality import SECOND, Instants, Quality, Report, Tracking, judge

MS = 1_000_000
START = 1_700_000_000 * SECOND
GOOD = Tracking(
    ref_id="C0000201", stratum=2, ref_time_ns=START, offset_ns=-3_000, root_delay_ns=2 * MS,
    root_dispersion_ns=500_000, frequency_ppb=-3500, skew_ppb=20, leap="normal",
)  # fmt: skip
GOOD_NS = 3_000 + 500_000 + MS


def tracking(**changed: object) -> Tracking:
    return msgspec.structs.replace(GOOD, **changed)


def at(seconds: float, stepped_ns: int = 0, boot: str = "one") -> Instants:
    return Instants(
        boot=boot,
        boottime_ns=int(seconds * SECOND),
        offset_ns=START + stepped_ns,
        uncertainty_ns=100,
    )


def look(seconds: float, said: Tracking | None = GOOD, stepped_ns: int = 0, **more: object) -> Look:
    return Look(instants=at(seconds, stepped_ns), tracking=said, **more)


def after(*looks: Look, before: Report | None = None) -> Report:
    for one in looks:
        before = next_report(before, one, 50 * MS)
    assert before is not None
    return before


def quality(report: Report, stepped_ns: int = 0) -> Quality:
    return judge(report, at(report.written_ns / SECOND, stepped_ns))


def test_the_bound_is_offset_and_dispersion_and_half_the_delay():
    report = after(look(1))
    assert (report.src, report.err_ns, report.unexplained_ns) == ("chrony", GOOD_NS, 0)
    assert quality(report).state == "ok"


@pytest.mark.parametrize("by_ns", [-2 * SECOND, 2 * SECOND, -40_000, 40_000])
def test_a_step_counts_until_chronyd_has_measured_after_it(by_ns):
    """Until then its figures are of the clock as it was."""
    stepped = after(look(1), look(2, stepped_ns=by_ns))
    assert stepped.unexplained_ns == abs(by_ns)
    later = after(look(3, stepped_ns=by_ns), look(40, stepped_ns=by_ns), before=stepped)
    assert later.unexplained_ns == abs(by_ns)
    assert quality(later, by_ns).err_ns >= GOOD_NS + abs(by_ns)
    slewed = tracking(ref_time_ns=START + 20_000)
    assert after(look(41, slewed, by_ns), before=later).unexplained_ns == abs(by_ns)
    measured = tracking(ref_time_ns=START + 64 * SECOND + by_ns)
    assert after(look(65, measured, by_ns), before=later).unexplained_ns == 0


def test_a_step_there_and_back_is_counted_twice():
    report = after(look(1), look(2, stepped_ns=SECOND), look(3, stepped_ns=0))
    assert report.unexplained_ns == 2 * SECOND


def test_a_step_while_the_agent_was_away_is_found_by_the_next_run():
    report = after(look(1), look(500, stepped_ns=SECOND))
    assert report.unexplained_ns == SECOND


def test_a_step_while_chronyd_is_silent_waits_for_its_second_word():
    """Its first may still be of the clock as it was."""
    silent = after(look(1), look(2, None, SECOND, why="silent"))
    assert (silent.unexplained_ns, silent.stepped_ref_ns) == (SECOND, None)
    first = after(look(3, stepped_ns=SECOND), before=silent)
    assert first.unexplained_ns == SECOND
    measured = tracking(ref_time_ns=START + 64 * SECOND)
    assert after(look(65, measured, SECOND), before=first).unexplained_ns == 0


def test_what_two_looks_differ_by_is_no_step():
    assert after(look(1), look(2, stepped_ns=9_000)).unexplained_ns == 0


def test_another_boot_begins_anew():
    before = after(look(1), look(2, stepped_ns=SECOND))
    there = Look(instants=at(1, boot="two"), tracking=GOOD)
    assert next_report(before, there, 50 * MS).unexplained_ns == 0


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (tracking(leap="not synchronised"), "not synchronised"),
        (tracking(ref_id="00000000", stratum=0), "no source"),
        (tracking(ref_id="7F7F0101", stratum=10, root_delay_ns=0, root_dispersion_ns=0), "own"),
        (tracking(leap="leap 9"), "leap 9"),
    ],
)
def test_a_daemon_without_a_source_gives_no_bound(said, why):
    """Not even where the kernel has one: it only repeats the daemon."""
    report = after(look(1), look(2, said, kernel=Kernel(err_ns=0)))
    assert (report.err_ns, quality(report).state) == (None, "unknown")
    assert why in report.why


def test_a_silent_daemons_bound_is_held_for_an_hour_and_grows():
    silent = {"why": "chronyd does not answer", "kernel": Kernel(err_ns=7)}
    held = after(look(1), look(2, None, **silent), look(1801, None, **silent))
    assert (held.src, held.err_ns, held.measured_ns) == ("chrony", GOOD_NS, SECOND)
    assert quality(held).err_ns > GOOD_NS + 1800 * SECOND * 499 // 1_000_000
    assert quality(held).state == "degraded"
    over = after(look(1 + HOLDOVER_NS / SECOND + 1, None, **silent), before=held)
    assert (over.src, over.err_ns) == ("kernel", 7)


def test_without_any_daemon_the_kernels_word_is_degraded_and_meets_no_tier():
    report = after(look(1, None, why="nobody answers", kernel=Kernel(err_ns=7)))
    assert (quality(report).state, quality(report).src) == ("degraded", "kernel")
    assert not quality(report).within(50 * MS)


def test_without_anybodys_word_nothing_is_known():
    report = after(look(1, None, why="nobody answers"))
    assert (quality(report).state, report.why) == ("unknown", "nobody answers")


def test_the_kernel_can_be_asked():
    """A container's may well be unsynchronised; it never has a negative error."""
    found = read_kernel()
    assert found.err_ns is None or found.err_ns >= 0
