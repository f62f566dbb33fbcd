"""What the vault shows: clients count for themselves; the daemons have no network and are asked.

The admin process asks each daemon's `status` now and then and gives it to `publish`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

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

KEY_DUE = Gauge(
    "portcullis_hsm_key_due_timestamp_seconds",
    "When the first current key of this kind is due to be rotated, over all tenants (Unix time).",
    ["kind"],
)

_FIGURES = (
    "uptime_s", "waiting", "threads", "batch_p50_s", "batch_p99_s", "answered", "refused",
    "busy", "batches", "keys", "key_hits", "key_misses", "sealed",
)  # fmt: skip


_seconds_of = cache(REQUEST_SECONDS.labels)
"""A handful of kinds; finding the child anew each time costs more than observing."""


def answered(kind: str, seconds: float) -> None:
    _seconds_of(kind).observe(seconds)


def failed(kind: str, code: str) -> None:
    FAILURES.labels(kind, code).inc()


def publish(figures: Mapping[str, Any]) -> None:
    """Show a daemon's `status()` answer."""
    for name in _FIGURES:
        if name in figures:
            DAEMON.labels(str(figures["daemon"]), name).set(float(figures[name]))
