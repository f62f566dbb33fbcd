"""Audit: from a record's append to its index, its signed checkpoint, its copies and its witnesses."""

from __future__ import annotations

from ops.dashboards.board import CHOSEN, OURS, Board, Row
from ops.dashboards.panels import (
    BAD,
    GOOD,
    WARN,
    heat,
    increase,
    least,
    lines,
    listing,
    mean,
    most,
    number,
    quantiles,
    rate,
)

RATE = "[$__rate_interval]"

NOW = Row(
    "Now",
    (
        number(
            "Oldest record without an index", "Records are in the inbox from their transaction on. Nothing is lost"
            " while they wait; receipts and live events are late.", "s",
            most("portcullis_audit_inbox_age_seconds", CHOSEN), steps=((10, WARN), (60, BAD)),
            alerts=("PortcullisInboxWaits",),
        ),
        number(
            "Oldest unsealed record", "Indexed, and under no published checkpoint yet.", "s",
            most("portcullis_audit_unpublished_age_seconds", CHOSEN), steps=((10, WARN), (60, BAD)),
            alerts=("PortcullisAuditUnsealed",),
        ),
        number(
            "Halted logs", "They contradict themselves and are not written, or a witness refused them and nothing"
            " is opened until two people lift the halt.", "short",
            f"max(portcullis_audit_halted_logs{{{CHOSEN}}}) + max(portcullis_audit_refused_logs{{{CHOSEN}}})",
            steps=((1, BAD),), alerts=("PortcullisAuditLogHalted", "PortcullisAuditLogRefused"),
        ),
        number(
            "Differences found", "Logs whose rows, files or checkpoints contradict each other, by the continuous"
            " check. Keep every copy as it is.", "short",
            most("portcullis_audit_check_differences", CHOSEN), steps=((1, BAD),),
            alerts=("PortcullisAuditDiffers",),
        ),
        number(
            "Last witnessed anchor", "Since the last anchor that enough witnesses cosigned; 0 where no policy asks"
            " for any.", "s", most("portcullis_audit_unwitnessed_age_seconds", CHOSEN),
            steps=((150, WARN), (300, BAD)), alerts=("PortcullisAnchorUnwitnessed",),
        ),
        number(
            "Stores that enforce WORM", "Of all stores: where everything that shall be permanent was seen to be.",
            "percentunit", mean("portcullis_audit_worm_enforced", CHOSEN),
            steps=((0, WARN), (0.999, GOOD)), alerts=("PortcullisAuditWormAdvisory",),
        ),
    ),
)  # fmt: skip
WRITING = Row(
    "Writing",
    (
        lines(
            "Records given an index", "A second, over all logs.", "ops",
            (rate("portcullis_audit_records_total", CHOSEN), "records"),
        ),
        heat(
            "Append latency",
            "To encrypt a transaction's records and write them into the inbox, before its commit."
            " Orders wait for it.", "s",
            increase("portcullis_audit_append_seconds_bucket", CHOSEN, "le"), width=8,
            alerts=("PortcullisAuditAppendFails",),
        ),
        lines(
            "Appends", "99th percentile of the same by process; and transactions that were given up because their"
            " records could not be written in time.", "s",
            *quantiles("portcullis_audit_append_seconds", CHOSEN, "process", of=(0.99,)),
            (rate("portcullis_audit_append_failures_total", CHOSEN), "given up a second"),
            alerts=("PortcullisAuditAppendFails",),
        ),
        lines(
            "Ages", "Of the oldest record without an index, and of the oldest that no checkpoint covers.", "s",
            (most("portcullis_audit_inbox_age_seconds", CHOSEN), "without an index"),
            (most("portcullis_audit_unpublished_age_seconds", CHOSEN), "not sealed"),
            (f"max(time() - portcullis_audit_looked_timestamp_seconds{{{CHOSEN}}})", "how old these figures are"),
            steps=((60, BAD),),
            alerts=("PortcullisInboxWaits", "PortcullisAuditUnsealed", "PortcullisRecorderStands"),
        ),
        lines(
            "Checkpoints and anchors",
            "Published a second: checkpoints of single logs, anchors of all of them.", "ops",
            (rate("portcullis_audit_checkpoints_total", CHOSEN), "checkpoints"),
            (rate("portcullis_audit_anchors_total", CHOSEN), "anchors"),
            alerts=("PortcullisAnchorLate",),
        ),
        lines(
            "What failed",
            "Tries: checkpoints that could not be signed, publications that the file system refused,"
            " lost database sessions.", "ops",
            (rate("portcullis_audit_signer_failures_total", CHOSEN), "signer"),
            (rate("portcullis_audit_store_failures_total", CHOSEN), "store"),
            (rate("portcullis_audit_database_failures_total", CHOSEN), "database"),
            alerts=("PortcullisAuditStoreRefuses",),
        ),
        lines(
            "Age of the anchor", "Since the last one was published, and since the last that enough witnesses"
            " cosigned; 0 where none is kept, or none asked for.", "s",
            (most("portcullis_audit_anchor_age_seconds", CHOSEN), "published"),
            (most("portcullis_audit_unwitnessed_age_seconds", CHOSEN), "cosigned"),
            steps=((300, WARN),), alerts=("PortcullisAnchorLate", "PortcullisAnchorUnwitnessed"),
        ),
        lines(
            "Leaves under published checkpoints", "Over all logs. It never falls: if it does, somebody has put an"
            " older store in its place.", "short",
            (most("portcullis_audit_checkpoint_size_leaves", CHOSEN), "leaves"),
            alerts=("PortcullisAuditStoreConflict",),
        ),
    ),
)  # fmt: skip
COPIES = Row(
    "Copies, checks, witnesses",
    (
        lines(
            "Lag of further stores", "For how long each has not been seen to have everything that is published.",
            "s", (most("portcullis_audit_store_lag_seconds", CHOSEN, "store"), "{{store}}"),
            steps=((900, WARN), (21600, BAD)),
            alerts=("PortcullisAuditStoreBehind", "PortcullisAuditStoreFarBehind"),
        ),
        listing(
            "Stores", "WORM by store: 1 enforced, 0 advisory. Advisory means that somebody with the recorder's"
            " rights could remove files.", "short",
            most("portcullis_audit_worm_enforced", CHOSEN, "store"), width=8,
            alerts=("PortcullisAuditWormAdvisory",),
        ),
        lines(
            "Conflicts and failed rounds",
            "Logs of which a store holds what contradicts the signed head: nothing is"
            " written there. Rounds in which a log could not be brought up.", "short",
            (most("portcullis_audit_store_conflicts", CHOSEN, "store"), "{{store}} conflicts"),
            (increase("portcullis_audit_store_kept_failures_total", CHOSEN, "store"),
             "{{store}} failed rounds"), alerts=("PortcullisAuditStoreConflict",),
        ),
        lines(
            "Continuous check",
            "Records compared a second, over all copies, and whole rounds in a day. A line at 0"
            " is a check that stands.", "short",
            (f"sum(increase(portcullis_audit_check_rounds_total{{{CHOSEN}}}[1d]))", "rounds in a day"),
            (rate("portcullis_audit_checked_records_total", CHOSEN), "records"),
            alerts=("PortcullisAuditCheckStands",),
        ),
        lines(
            "Copies not compared", "Since each copy was last compared with the others.", "s",
            (f"time() - max by (copy) (portcullis_audit_copy_checked_timestamp_seconds{{{CHOSEN}}})", "{{copy}}"),
            steps=((21600, WARN),), alerts=("PortcullisAuditCopyUnread",),
        ),
        lines(
            "Witnesses", "Times each gave no cosignature, and whether enough of them cosigned the last anchor"
            " (1: yes).", "short",
            (increase("portcullis_audit_witness_failures_total", CHOSEN, "witness"),
             "{{witness}} silent"),
            (least("portcullis_audit_witness_quorum", CHOSEN), "enough"),
            alerts=("PortcullisAnchorUnwitnessed",),
        ),
    ),
)  # fmt: skip
BOARD = Board(
    uid="portcullis-audit",
    title="Portcullis / Audit",
    description="Append, index, checkpoints, stores, the continuous check, anchors and witnesses.",
    page="operating/dashboards.md",
    variables=OURS,
    rows=(NOW, WRITING, COPIES),
)
