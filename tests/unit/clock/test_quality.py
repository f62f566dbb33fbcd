"""The bound holds at every moment: what was measured, plus all that may have happened since."""

from __future__ import annotations

import msgspec
import pytest

from audit import canonical
from tenancy.clock_file import ClockFile, read_instants, read_report, write_report
from tenancy.clock_quality import FRESH_NS, SECOND, STALE_NS, Instants, Report, judge

MS = 1_000_000


def at(seconds: float, stepped_ns: int = 0, boot: str = "one", uncertainty_ns: int = 0) -> Instants:
    return Instants(
        boot=boot, boottime_ns=int(seconds * SECOND), offset_ns=1_700_000_000 * SECOND + stepped_ns,
        uncertainty_ns=uncertainty_ns,
    )  # fmt: skip


def report(seconds: float = 100.0, **changed: object) -> Report:
    now = at(seconds)
    said = Report(
        boot="one", written_ns=now.boottime_ns, offset_ns=now.offset_ns, uncertainty_ns=0,
        src="chrony", measured_ns=now.boottime_ns, err_ns=2 * MS, error_max_ns=50 * MS,
    )  # fmt: skip
    return msgspec.structs.replace(said, **changed)


def test_a_fresh_measurement_is_ok_and_grows_by_fifteen_ppm():
    assert judge(report(), at(100)).err_ns == 2 * MS + 1
    quality = judge(report(), at(101))
    assert (quality.state, quality.src, quality.err_ns) == ("ok", "chrony", 2 * MS + 15_000 + 1)


@pytest.mark.parametrize("by_ns", [-3600 * SECOND, -30 * MS, 30 * MS, 3600 * SECOND])
def test_a_step_since_the_report_is_part_of_the_bound_at_once(by_ns):
    quality = judge(report(), at(100, stepped_ns=by_ns))
    assert quality.err_ns == 2 * MS + 1 + abs(by_ns)
    assert quality.state == ("ok" if abs(by_ns) < 48 * MS else "degraded")


def test_a_step_by_weeks_leaves_no_bound():
    assert judge(report(), at(100, stepped_ns=30 * 86400 * SECOND)).state == "unknown"


def test_the_width_of_both_looks_is_part_of_the_bound():
    quality = judge(report(uncertainty_ns=300), at(100, uncertainty_ns=500))
    assert quality.err_ns == 2 * MS + 1 + 800


def test_an_agent_that_is_silent_is_not_believed():
    just = judge(report(), at(100 + STALE_NS / SECOND))
    late = judge(report(), at(100.001 + STALE_NS / SECOND))
    assert (just.state, late.state, late.err_ns) == ("ok", "unknown", None)
    assert "silent for 5.0 s" in late.why


def test_a_report_from_the_future_or_another_boot_is_not_believed():
    assert judge(report(), at(99)).state == "unknown"
    assert judge(report(), at(100, boot="two")).state == "unknown"


def test_without_the_daemon_the_last_bound_grows_as_the_kernels_does():
    """500 ppm for the whole time: the daemon may have died while it slewed."""
    held = report(160, measured_ns=100 * SECOND)
    quality = judge(held, at(160))
    assert quality.state == "degraded"
    assert quality.err_ns == 2 * MS + 60 * SECOND * 500 // 1_000_000 + 1
    assert not quality.within(2 * MS)
    fresh = judge(report(100 + FRESH_NS / SECOND, measured_ns=100 * SECOND), at(105))
    assert fresh.state == "ok"


def test_over_the_hosts_own_limit_the_clock_is_degraded_and_its_bound_stands():
    quality = judge(report(err_ns=80 * MS), at(100))
    assert (quality.state, quality.err_ns) == ("degraded", 80 * MS + 1)
    assert quality.within(100 * MS)
    assert not quality.within(50 * MS)


def test_no_bound_is_unknown_and_within_nothing():
    quality = judge(report(err_ns=None, why="chronyd is not synchronised"), at(100))
    assert (quality.state, quality.why) == ("unknown", "chronyd is not synchronised")
    assert not quality.within(10**15)


def test_what_a_leaf_says_is_canonical():
    for quality in (judge(report(), at(100)), judge(None, at(100))):
        assert canonical.decode(canonical.encode(quality.leaf)) == quality.leaf
    assert judge(report(), at(100)).leaf == {"err": 2 * MS + 1, "src": "chrony", "state": "ok"}


def test_the_machines_clocks_are_read_close_together():
    one, two = read_instants(), read_instants()
    assert one.boot == two.boot
    assert two.boottime_ns >= one.boottime_ns
    assert abs(one.offset_ns - two.offset_ns) <= one.uncertainty_ns + two.uncertainty_ns + 10_000


class Host:
    """A host's clocks that a test moves."""

    def __init__(self) -> None:
        self.now = at(100)

    def instants(self) -> Instants:
        return self.now


@pytest.fixture
def host() -> Host:
    return Host()


def test_the_file_is_read_again_and_a_step_shows_before_it_is(host, tmp_path):
    file = ClockFile(tmp_path / "clock.json", host.instants)
    assert file.quality().state == "unknown"
    assert "has not run" in file.quality().why
    write_report(tmp_path / "clock.json", report())
    host.now = at(100.3)
    assert file.quality().state == "ok"
    host.now = at(100.31, stepped_ns=-SECOND)
    assert file.quality().err_ns == 2 * MS + 4650 + 1 + SECOND
    (tmp_path / "clock.json").unlink()
    host.now = at(100.6)
    assert file.quality().state == "unknown"


def test_a_file_stays_what_it_was_written_as(tmp_path):
    path = tmp_path / "clock.json"
    write_report(path, report())
    assert read_report(path) == report()
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"v":1}', b'{"boot":7}', bytes(300)])
def test_a_file_that_is_no_report_is_unknown_and_nothing_raises(host, tmp_path, text):
    path = tmp_path / "clock.json"
    path.write_bytes(text)
    quality = ClockFile(path, host.instants).quality()
    assert quality.state == "unknown"
    assert "cannot be used" in quality.why


def test_a_report_of_another_version_is_not_read(host, tmp_path):
    path = tmp_path / "clock.json"
    write_report(path, report(v=2))
    assert ClockFile(path, host.instants).quality().state == "unknown"


def test_a_file_that_others_may_write_is_not_believed(host, tmp_path):
    path = tmp_path / "clock.json"
    write_report(path, report())
    path.chmod(0o666)
    assert "others may write" in ClockFile(path, host.instants).quality().why


def test_a_link_is_not_followed(host, tmp_path):
    write_report(tmp_path / "elsewhere", report())
    (tmp_path / "clock.json").symlink_to(tmp_path / "elsewhere")
    assert ClockFile(tmp_path / "clock.json", host.instants).quality().state == "unknown"
