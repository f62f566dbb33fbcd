"""From one look at the daemon, the kernel and the clocks to the next report. Pure.

1. Carry on from the report before, which may be another run's of the agent: was the clock stepped
   since? What nobody explained is kept until chronyd has measured again *after* it, because until
   then chronyd's own figures are of the clock as it was. chronyd's own steps are no exception: one
   measurement later they are forgotten.
2. chronyd answers and has a source: its bound. It answers and has none: no bound, and the kernel is not
   asked, for it only repeats chronyd.
3. chronyd does not answer: its last bound for at most HOLDOVER_NS, growing as judge() says.
4. Else the kernel's word, if it calls itself synchronised. Else no bound.
"""

from __future__ import annotations

import msgspec

from ops.clock.cmdmon import bound_ns, unsynchronised
from ops.clock.kernel import Kernel
from tenancy.clock_quality import LARGEST_NS, SECOND, Instants, Report, Tracking, moved_ns

HOLDOVER_NS = 3600 * SECOND
NOISE_NS = 10_000
"""Two looks at two clocks differ by so much beside their own uncertainty."""
NEW_MEASUREMENT_NS = SECOND // 2
"""chronyd corrects its reference time by microseconds as it slews; a measurement moves it by more."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """Everything seen at one moment. `tracking` None: `why` says why chronyd said nothing."""

    instants: Instants
    tracking: Tracking | None = None
    why: str = ""
    kernel: Kernel = Kernel(err_ns=None)


class Steps(msgspec.Struct, frozen=True):
    """What is unexplained, and the daemon's reference time when it came about."""

    unexplained_ns: int
    ref_ns: int | None


def next_report(before: Report | None, look: Look, error_max_ns: int) -> Report:
    """The report after this look. The module says how."""
    now = look.instants
    if before is not None and before.boot != now.boot:
        before = None
    steps = _steps(before, look)
    report = Report(
        boot=now.boot, written_ns=now.boottime_ns, offset_ns=now.offset_ns,
        uncertainty_ns=now.uncertainty_ns, src="system", err_ns=None,
        unexplained_ns=min(steps.unexplained_ns, LARGEST_NS), stepped_ref_ns=steps.ref_ns,
        error_max_ns=error_max_ns, tracking=look.tracking, why=look.why,
    )  # fmt: skip
    if look.tracking is not None:
        return _measured(report, look.tracking)
    if before is not None and _held(before, now):
        return msgspec.structs.replace(
            report, src="chrony", err_ns=before.err_ns, measured_ns=before.measured_ns,
            tracking=before.tracking,
        )  # fmt: skip
    if look.kernel.err_ns is None:
        return report
    return msgspec.structs.replace(
        report, src="kernel", err_ns=look.kernel.err_ns, measured_ns=now.boottime_ns
    )


def _measured(report: Report, tracking: Tracking) -> Report:
    why = unsynchronised(tracking)
    err_ns = None if why else bound_ns(tracking)
    return msgspec.structs.replace(
        report, src="chrony", err_ns=err_ns, measured_ns=report.written_ns, why=why
    )


def _held(before: Report, now: Instants) -> bool:
    """Whether chronyd's last bound still counts."""
    measured = before.src == "chrony" and before.err_ns is not None
    return measured and now.boottime_ns - before.measured_ns <= HOLDOVER_NS


def _steps(before: Report | None, look: Look) -> Steps:
    if before is None:
        return Steps(0, None)
    ref_ns = None if look.tracking is None else look.tracking.ref_time_ns
    stepped_ns = step_ns(before, look.instants)
    if stepped_ns:
        return Steps(before.unexplained_ns + abs(stepped_ns), ref_ns)
    if not before.unexplained_ns or ref_ns is None:
        return Steps(before.unexplained_ns, before.stepped_ref_ns)
    if before.stepped_ref_ns is None:  # chronyd was silent then: wait for its next after this one
        return Steps(before.unexplained_ns, ref_ns)
    if abs(ref_ns - before.stepped_ref_ns) < NEW_MEASUREMENT_NS:
        return Steps(before.unexplained_ns, before.stepped_ref_ns)
    return Steps(0, None)


def step_ns(before: Report, now: Instants) -> int:
    """By how much the clock was stepped since `before`, of the same boot; 0: within what looks differ by."""
    moved = moved_ns(now, before.offset_ns)
    noise = NOISE_NS + before.uncertainty_ns + now.uncertainty_ns
    return moved if abs(moved) > noise else 0
