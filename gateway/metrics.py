"""What the two listeners count. Labels are bounded: outcomes are codes of the problem table."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_LATENCY_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

HOOK_REQUESTS = Counter(
    "portcullis_hook_requests_total",
    "Requests to hooks by outcome (accepted, repeated or a code)",
    ["outcome"],
)
UNKEPT = ("unavailable", "outcome_unknown", "overloaded", "internal", "audit_unavailable")
"""Outcomes of a signal that was right, and that we did not keep."""
for _outcome in UNKEPT:  # an alert asks for the increase: the first one counts, too
    HOOK_REQUESTS.labels(_outcome)
ACCEPT_SECONDS = Histogram(
    "portcullis_accept_seconds", "From the first byte of a request to its 202", buckets=_LATENCY_S
)
KEEP_SECONDS = Histogram(
    "portcullis_keep_seconds", "From the queue to the commit, for one signal", buckets=_LATENCY_S
)
BATCH_SIGNALS = Histogram(
    "portcullis_keep_batch_signals",
    "Signals in one commit",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
QUEUE_DEPTH = Gauge("portcullis_keep_queue_depth", "Signals that wait for a commit")
KEEP_FAILURES = Counter(
    "portcullis_keep_failures_total", "Commits that failed, by what is then known", ["kind"]
)
WAITING = Gauge("portcullis_hook_waiting", "Senders that wait for an outcome")
WAITS = Counter(
    "portcullis_hook_waits_total",
    "Requests with Prefer: wait by how the wait ended (done, time_over, sender_left, stopping, not_applied)",
    ["end"],
)
RATE_LOCAL = Counter(
    "portcullis_rate_local_total", "Rate decisions made in this process because Redis was away"
)
REFUSALS_UNRECORDED = Counter(
    "portcullis_refusals_unrecorded_total", "Refusals without a record of their own (rate-limited)"
)
HOOKS_LOADED = Gauge("portcullis_hooks_loaded", "Hooks in memory")
HOOKS_UNOPENED = Gauge(
    "portcullis_hook_secrets_unopened", "Secrets that the signer has not opened yet"
)
HOOKS_AGE = Gauge(
    "portcullis_hooks_checked_timestamp_seconds",
    "When the hooks were last compared with PostgreSQL",
)
ADMIN_REQUESTS = Counter(
    "portcullis_admin_requests_total", "Requests to the management listener", ["route", "status"]
)
RATE_REFUSALS = Counter(
    "portcullis_rate_refusals_total", "Requests over a limit on use, by the quota's name", ["quota"]
)
LOGINS = Counter(
    "portcullis_logins_total",
    "Steps of signing in by outcome (in, half_way, wrong_…, slowed, locked, replayed, oidc_failed)",
    ["outcome"],
)
JOB_TURNS = Counter(
    "portcullis_admin_job_turns_total",
    "Turns of the admin process' jobs by outcome (done, failed)",
    ["task", "outcome"],
)
EVENT_STREAMS = Gauge("portcullis_event_streams", "Streams of events that are open")
EVENT_STREAMS_DROPPED = Counter(
    "portcullis_event_streams_dropped_total", "Streams ended because their client read too slowly"
)
