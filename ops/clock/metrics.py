"""How right is the clock, in figures; each process says how it sees the host's."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from tenancy.clock_quality import Quality, Report

STATES = ("ok", "degraded", "unknown")

STATE = Gauge(
    "portcullis_clock_state", "1 for the state that the host's clock is in, else 0.", ["state"]
)
ERROR_BOUND = Gauge(
    "portcullis_clock_error_bound_seconds",
    "The clock is at most so far from UTC; +Inf where there is no bound.",
)
ERROR_MAX = Gauge(
    "portcullis_clock_error_max_seconds", "Above this the operator calls the clock degraded."
)
OFFSET = Gauge(
    "portcullis_clock_offset_seconds",
    "The clock against chronyd's estimate of UTC; ahead is positive.",
)
ROOT_DELAY = Gauge("portcullis_clock_root_delay_seconds", "chronyd's root delay.")
ROOT_DISPERSION = Gauge("portcullis_clock_root_dispersion_seconds", "chronyd's root dispersion.")
STEPS = Counter(
    "portcullis_clock_steps_total",
    "Times this process saw the time of day jump against the time since boot.",
    ["direction"],
)
for _direction in ("forward", "back"):  # an alert asks for the increase: the first one counts, too
    STEPS.labels(_direction)
OVER_TIER = Gauge(
    "portcullis_clock_tenants_over_tier", "Tenants whose tier the clock does not meet.", ["tier"]
)
RECORDS_FAILED = Counter(
    "portcullis_clock_records_failed_total", "Clock records that could not be written at a try."
)


def publish(quality: Quality, report: Report | None) -> None:
    """Show one look."""
    for state in STATES:
        STATE.labels(state).set(state == quality.state)
    ERROR_BOUND.set(float("inf") if quality.err_ns is None else quality.err_ns / 1e9)
    if report is None:
        return
    ERROR_MAX.set(report.error_max_ns / 1e9)
    if report.tracking is not None:
        OFFSET.set(report.tracking.offset_ns / 1e9)
        ROOT_DELAY.set(report.tracking.root_delay_ns / 1e9)
        ROOT_DISPERSION.set(report.tracking.root_dispersion_ns / 1e9)


def stepped(by_ns: int) -> None:
    """Count a step."""
    STEPS.labels("forward" if by_ns > 0 else "back").inc()
