"""Which copies of the audit logs' files the continuous check reads: every set that the settings name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from audit.checker import Checker
from audit.checking import CopyAway
from audit.keeping import Place
from audit.logs import Log
from audit.tiles import Read
from audit.worm.posix import PosixStore
from ops.settings import Settings
from ops.stores import FIRST, further_places
from tenancy.clock import Clock
from tenancy.database import Database
from tenancy.errors import PortcullisError


def audit_checker(
    settings: Settings, database: Database, clock: Clock, term: Callable[[], int] = lambda: 1
) -> Checker:
    """The check of every log of `database`, which is opened under the role portcullis_recorder.

    `term`: 0 while it is another host's turn (Recorder.term).
    Raises ConfigurationError for a set that cannot be what the settings say.
    """
    further = further_places(settings.recorder, clock)
    root = settings.recorder.store
    return Checker(
        database,
        lambda log: {
            FIRST: PosixStore(root / str(log.log_id)).read,
            **{place.name: _reader(place, log) for place in further},
        },
        clock,
        records_per_s=settings.recorder.check_records_per_s,
        term=term,
    )


def _reader(place: Place, log: Log) -> Read:
    """Reads a further set, which is on another disk or host: one that does not answer is away."""
    store = cache(lambda: place.store(log))

    def read(name: str) -> bytes | None:
        try:
            return store().read(name)
        except (OSError, PortcullisError) as error:
            raise CopyAway(place.name, error) from error

    return read
