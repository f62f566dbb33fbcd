"""Could everything be restored now, and how much would be missing: figures of the archive's process."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

RECEIVER_UP = Gauge(
    "portcullis_backup_receiver_up", "1 while PostgreSQL streams its WAL to the archive, else 0."
)
SYNCHRONOUS = Gauge(
    "portcullis_backup_synchronous",
    "1 while every commit waits until the archive has it: then nothing acknowledged can be lost.",
)
SYNCHRONOUS_WANTED = Gauge(
    "portcullis_backup_synchronous_wanted", "1 where the settings say `synchronous`."
)
WAL_LAG_BYTES = Gauge(
    "portcullis_backup_wal_lag_bytes",
    "WAL that PostgreSQL has on its disk and the archive has not.",
)
WAL_LAG_SECONDS = Gauge(
    "portcullis_backup_wal_lag_seconds", "For how long the archive has not had everything."
)
SLOT_LOST = Gauge(
    "portcullis_backup_slot_lost",
    "1 where PostgreSQL removed WAL that the archive never had: a new base backup is needed.",
)
OVERRIDDEN = Gauge(
    "portcullis_backup_overrides_patroni",
    "1 where ALTER SYSTEM set synchronous_standby_names on a server that Patroni runs.",
)
BASE_AGE = Gauge(
    "portcullis_backup_base_age_seconds",
    "Since the last whole base backup; +Inf where there is none.",
)
BASES = Gauge("portcullis_backup_bases", "Whole base backups in the repository.")
DRILL_AGE = Gauge(
    "portcullis_backup_drill_age_seconds", "Since the last drill that lost nothing; +Inf: never."
)
FREE_BYTES = Gauge("portcullis_backup_free_bytes", "Room left where the repository is.")
RECEIVER_ENDS = Counter(
    "portcullis_backup_receiver_ends_total", "Times that pg_receivewal ended and was started again."
)
LOOKS_FAILED = Counter(
    "portcullis_backup_looks_failed_total", "Looks at PostgreSQL or the repository that failed."
)
