"""Is the audit log well: how old is what is not yet sequenced, not yet published, not yet signed."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

APPEND_SECONDS = Histogram(
    "portcullis_audit_append_seconds",
    "To encrypt the records of one transaction and write them into the inbox, before its commit"
    " (where its statements leave together, in a pipeline: until they were given to it).",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
)
APPEND_FAILURES = Counter(
    "portcullis_audit_append_failures_total",
    "Transactions that were given up because their records could not be written in time.",
)
INBOX_AGE = Gauge(
    "portcullis_audit_inbox_age_seconds", "Age of the oldest record that has no index yet."
)
LOOKED = Gauge(
    "portcullis_audit_looked_timestamp_seconds",
    "When the recorder last read what there is to do; what it says of ages is no newer.",
)
UNPUBLISHED_AGE = Gauge(
    "portcullis_audit_unpublished_age_seconds",
    "Age of the oldest indexed record that no published checkpoint covers.",
)
RECORDS = Counter("portcullis_audit_records_total", "Records given an index by this process.")
CHECKPOINT_SIZE = Gauge(
    "portcullis_audit_checkpoint_size_leaves", "Leaves under published checkpoints, over all logs."
)
CHECKPOINTS = Counter("portcullis_audit_checkpoints_total", "Checkpoints published.")
SIGNER_FAILURES = Counter(
    "portcullis_audit_signer_failures_total", "Checkpoints that could not be signed at a try."
)
STORE_FAILURES = Counter(
    "portcullis_audit_store_failures_total", "Publications that the file system refused."
)
HALTED = Gauge("portcullis_audit_halted_logs", "Logs that contradict themselves and are stopped.")
DATABASE_FAILURES = Counter(
    "portcullis_audit_database_failures_total", "Times the recorder lost its database session."
)
WORM_ENFORCED = Gauge(
    "portcullis_audit_worm_enforced",
    "1 where everything that shall be permanent was seen to be, 0: advisory.",
    ["store"],
)
STORE_LAG = Gauge(
    "portcullis_audit_store_lag_seconds",
    "For how long a further store has not been seen to have all that is published.",
    ["store"],
)
STORE_KEPT_FAILURES = Counter(
    "portcullis_audit_store_kept_failures_total",
    "Rounds in which a log could not be brought up in a store.",
    ["store"],
)
STORE_CONFLICTS = Gauge(
    "portcullis_audit_store_conflicts",
    "Logs of which a store holds what contradicts the signed head: nothing is written there.",
    ["store"],
)
CHECKED = Counter(
    "portcullis_audit_checked_records_total", "Records that the continuous check has compared."
)
COPY_CHECKED = Gauge(
    "portcullis_audit_copy_checked_timestamp_seconds",
    "When the continuous check last compared this copy of the logs with the others",
    ["copy"],
)
CHECK_ROUNDS = Counter(
    "portcullis_audit_check_rounds_total", "Whole rounds of the continuous check, over all logs."
)
CHECK_DIFFERENCES = Gauge(
    "portcullis_audit_check_differences",
    "Logs whose rows, files or checkpoints contradict each other.",
)

ANCHORS = Counter("portcullis_audit_anchors_total", "Anchors of all logs that were published.")
ANCHOR_AGE = Gauge(
    "portcullis_audit_anchor_age_seconds",
    "Since the last anchor was published; 0 where none is kept.",
)
QUORUM_MET = Gauge(
    "portcullis_audit_witness_quorum", "1 when enough witnesses cosigned the last anchor, 0: not."
)
UNWITNESSED_AGE = Gauge(
    "portcullis_audit_unwitnessed_age_seconds",
    "Since the last anchor that enough witnesses cosigned; 0 where no policy asks for any.",
)
WITNESS_FAILURES = Counter(
    "portcullis_audit_witness_failures_total", "Times a witness gave no cosignature.", ["witness"]
)
REFUSED = Gauge(
    "portcullis_audit_refused_logs", "Logs whose trading is stopped until two people lift the halt."
)
