"""How wrong this host's clock can be, as a bound that holds at this very moment. Pure.

The clock agent (ops/clock/) measures once a second and leaves a `Report` in a small file; whoever
writes a time down asks `judge()` how far from UTC it can be. Between two measurements the bound is
kept honest by what a process can see for itself:

1. The report is of this boot, and the agent wrote it at most STALE_NS ago. Else: unknown.
2. Since the measurement the clock may have drifted: 15 ppm while it is fresh (RFC 5905's PHI); once
   the daemon has been silent for FRESH_NS, 500 ppm for the whole time, as the kernel itself counts.
3. Time of day minus time since boot is a constant on Linux, however the clock is slewed. By as much
   as it differs from the report's somebody *stepped* the clock, and all of that is added.

So a step shows in every process at its next look, before any daemon has noticed. A bound is never
better than what was measured, and what is not known is unknown, not zero.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

SECOND = 1_000_000_000
STALE_NS = 5 * SECOND
"""An agent that was silent for longer is not believed."""
FRESH_NS = 5 * SECOND
"""The daemon's word is so long good for a clock that it still disciplines."""
DRIFT_PPM = 15
HOLDOVER_PPM = 500
LARGEST_NS = 10**15
"""A bound of eleven days is none."""

State = Literal["ok", "degraded", "unknown"]
Source = Literal["chrony", "kernel", "system"]
"""`system`: nobody measured."""

ClockTier = Literal["finra_50ms", "mifid_1ms", "mifid_100us"]
"""How far from UTC a business clock may be: FINRA rule 4590 (50 ms); MiFID II RTS 25, Annex (1 ms; 100
microseconds for high-frequency trading)."""
TIERS_NS: dict[ClockTier, int] = {
    "finra_50ms": 50_000_000,
    "mifid_1ms": 1_000_000,
    "mifid_100us": 100_000,
}


class Instants(msgspec.Struct, frozen=True, kw_only=True):
    """Both clocks of a host at one moment, ns. `offset_ns`: time of day minus time since boot."""

    boot: str
    boottime_ns: int
    offset_ns: int
    uncertainty_ns: int

    @property
    def wall_ns(self) -> int:
        return self.boottime_ns + self.offset_ns


class Tracking(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon said of itself, for the sync log. Durations in ns, rates in parts per 10^9."""

    ref_id: str
    stratum: int
    ref_time_ns: int
    """When its last measurement was processed, by the host's own clock."""
    offset_ns: int
    """By how much the clock is ahead of the daemon's estimate of UTC (negative: behind)."""
    root_delay_ns: int
    root_dispersion_ns: int
    frequency_ppb: int
    skew_ppb: int
    leap: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The agent's file. Times are since boot; nothing in it is secret."""

    v: int = 1
    boot: str
    written_ns: int
    offset_ns: int
    uncertainty_ns: int
    src: Source
    measured_ns: int = 0
    """When the bound was measured; the agent may be well and the daemon silent since."""
    err_ns: int | None
    """The bound at `measured_ns`; None: there is none, and `why` says why."""
    unexplained_ns: int = 0
    """Steps that the agent saw since the daemon's last measurement."""
    stepped_ref_ns: int | None = None
    """The daemon's `ref_time_ns` when the last of them happened."""
    error_max_ns: int
    """What this host's operator allows; above it the clock is degraded."""
    tracking: Tracking | None = None
    why: str = ""


class Quality(msgspec.Struct, frozen=True):
    """How good a time is that is read now. `err_ns` bounds its distance from UTC; None: unbounded."""

    state: State
    src: Source
    err_ns: int | None
    why: str = ""

    def within(self, tier_ns: int) -> bool:
        """Whether a measured bound meets the tier. The kernel's word never does: whoever set it may
        not have measured (systemd-timesyncd writes 0)."""
        return self.src == "chrony" and self.err_ns is not None and self.err_ns <= tier_ns

    @property
    def leaf(self) -> dict[str, Any]:
        """A leaf's `clk`: err in whole nanoseconds, source, state (audit/record.py)."""
        return {"err": self.err_ns, "src": self.src, "state": self.state}

    @property
    def words(self) -> str:
        """For people."""
        bound = "no bound" if self.err_ns is None else f"within {self.err_ns / 1e6:.3f} ms of UTC"
        source = {"chrony": "chrony", "kernel": "the kernel's word", "system": "not measured"}
        said = f"{self.state}: {bound} ({source[self.src]})"
        return f"{said}: {self.why}" if self.why else said


def unmeasured(why: str = "no clock agent is set up") -> Quality:
    """What is known without an agent: nothing."""
    return Quality("unknown", "system", None, why)


def moved_ns(now: Instants, offset_ns: int) -> int:
    """By how much the clock was stepped since it had that offset. Positive: forward."""
    return now.offset_ns - offset_ns


def drift_ns(age_ns: int) -> int:
    """How far a clock can have drifted since it was measured, `age_ns` ago."""
    ppm = DRIFT_PPM if age_ns <= FRESH_NS else HOLDOVER_PPM
    return age_ns * ppm // 1_000_000 + 1


def judge(report: Report | None, now: Instants, why: str = "there is no report") -> Quality:
    """How good the time is at `now`; `why` where there is no report. The module says how."""
    if report is None:
        return unmeasured(why)
    if report.boot != now.boot:
        return unmeasured("the agent's report is of another boot")
    silent_ns = now.boottime_ns - report.written_ns
    if not 0 <= silent_ns <= STALE_NS:
        return unmeasured(f"the clock agent has been silent for {silent_ns / SECOND:.1f} s")
    if report.err_ns is None:
        return Quality("unknown", report.src, None, report.why)
    age_ns = now.boottime_ns - report.measured_ns
    stepped_ns = abs(moved_ns(now, report.offset_ns)) + report.unexplained_ns
    doubt_ns = now.uncertainty_ns + report.uncertainty_ns
    err_ns = report.err_ns + drift_ns(max(0, age_ns)) + stepped_ns + doubt_ns
    if err_ns > LARGEST_NS:
        return Quality("unknown", report.src, None, "the clock was stepped by days")
    if report.src != "chrony":
        return Quality("degraded", report.src, err_ns, report.why)
    if age_ns > FRESH_NS:
        return Quality("degraded", "chrony", err_ns, report.why or "chronyd does not answer")
    if err_ns > report.error_max_ns:
        over = f"over this host's {report.error_max_ns / 1e6:g} ms"
        return Quality("degraded", "chrony", err_ns, over)
    return Quality("ok", "chrony", err_ns)
