"""What the vault shows: clients count for themselves; the daemons have no network and are asked.

The admin process asks each daemon's `status` now and then (hsm/watch.py) and gives it to `publish`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from hsm.errors import BY_CODE

REQUEST_SECONDS = Histogram(
    "portcullis_hsm_request_seconds",
    "From asking the signer or enroller to its answer, as the client sees it.",
    ["kind"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0),
)
FAILURES = Counter(
    "portcullis_hsm_failures_total", "Requests refused or not answered, by code.", ["kind", "code"]
)
DAEMON = Gauge(
    "portcullis_hsm_daemon", "The daemon's own figures at its last status.", ["daemon", "figure"]
)
UP = Gauge("portcullis_hsm_up", "1: the daemon answers and its token is well; 0: not.", ["daemon"])
CANARY_AGE = Gauge(
    "portcullis_hsm_canary_age_seconds",
    "Since when no canary of this daemon has sung, at its last status.",
    ["daemon"],
)
EPOCH = Gauge("portcullis_hsm_epoch", "How often this daemon has been started.", ["daemon"])
SESSIONS = Gauge("portcullis_hsm_sessions", "Sessions that it has with its token.", ["daemon"])
REQUESTS = Gauge(
    "portcullis_hsm_requests",
    "Answered since the daemon's start, by outcome.",
    ["daemon", "outcome"],
)
REFUSALS = Gauge(
    "portcullis_hsm_refusals", "Refused since the daemon's start, by code.", ["daemon", "code"]
)
JOURNAL_BEHIND = Gauge(
    "portcullis_hsm_journal_behind_lines",
    "Refusals in the daemon's journal that have no audit record yet.",
    ["daemon"],
)

KEY_DUE = Gauge(
    "portcullis_hsm_key_due_timestamp_seconds",
    "When the first current key of this kind is due to be rotated, over all tenants (Unix time).",
    ["kind"],
)

_FIGURES = (
    "uptime_s", "waiting", "threads", "batch_p50_s", "batch_p99_s", "batches", "busy_s", "tenants",
    "keys", "key_hits", "key_misses", "sealed", "journal_last",
)  # fmt: skip
_OUTCOMES = ("answered", "refused", "busy", "over_rate")


_seconds_of = cache(REQUEST_SECONDS.labels)
"""A handful of kinds; finding the child anew each time costs more than observing."""


def answered(kind: str, seconds: float) -> None:
    _seconds_of(kind).observe(seconds)


def failed(kind: str, code: str) -> None:
    FAILURES.labels(kind, code).inc()


def publish(daemon: str, figures: Mapping[str, Any] | None, why: str = "") -> None:
    """Show a daemon's `status()` answer; None: it gave none. `why`: what is wrong with it, if anything."""
    UP.labels(daemon).set(0 if figures is None or why else 1)
    if figures is None:
        return
    for gauge, name in ((CANARY_AGE, "canary_age_s"), (EPOCH, "epoch"), (SESSIONS, "sessions")):
        gauge.labels(daemon).set(float(figures.get(name, 0)))
    for name in _FIGURES:
        if name in figures:
            DAEMON.labels(daemon, name).set(float(figures[name]))
    for outcome in _OUTCOMES:
        REQUESTS.labels(daemon, outcome).set(float(figures.get(outcome, 0)))
    refused = figures.get("refusals", {})
    for code in BY_CODE:  # an alert asks for the increase: the first one counts, too
        REFUSALS.labels(daemon, code).set(float(refused.get(code, 0)))
