"""Which copies of the audit logs' files the continuous check reads: those that the settings name."""

from __future__ import annotations

from audit.checker import Checker
from audit.worm.posix import PosixStore
from ops.settings import Settings
from tenancy.clock import Clock
from tenancy.database import Database


def audit_checker(settings: Settings, database: Database, clock: Clock) -> Checker:
    """The check of every log of `database`, which is opened under the role portcullis_recorder."""
    store, most = settings.recorder.store, settings.recorder.check_records_per_s
    return Checker(
        database,
        lambda log: {"store": PosixStore(store / str(log.log_id)).read},
        clock,
        records_per_s=most,
    )
