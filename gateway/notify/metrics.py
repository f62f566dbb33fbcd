"""What the sender of notifications counts. Labels are bounded."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS = Counter(
    "portcullis_notify_attempts_total",
    "Attempts to notify, by kind (webhook, email, slack, push) and outcome (delivered, failed, gone, ours)",
    ["kind", "outcome"],
)
DELAY_SECONDS = Histogram(
    "portcullis_notify_delay_seconds",
    "From what happened to the receiver's yes",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400),
)
CHANNELS = Gauge(
    "portcullis_notify_channels", "Channels by state (working, failing, gone, off)", ["state"]
)
DEVICES = Gauge(
    "portcullis_notify_devices",
    "Browsers that people are told in by Web Push, by state (working, failing)",
    ["state"],
)
DEVICES_ENDED = Counter(
    "portcullis_notify_devices_ended_total",
    "Browsers whose push service answered that they are no more (404, 410)",
)
GAPS = Counter("portcullis_notify_gaps_total", "Gap notices that were delivered")
