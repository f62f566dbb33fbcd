"""The audit log's stores as the settings name them: directories and buckets become what audit/ works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from audit.keeping import Place
from audit.logs import Log
from audit.worm.port import Store, Worm
from audit.worm.posix import PosixStore
from audit.worm.s3 import S3Store
from audit.worm.s3_wire import Bucket
from audit.worm.sealing import SealerClient
from ops.health import Check
from ops.settings import DirectoryStore, RecorderSettings, S3StoreSettings
from tenancy.clock import Clock

FIRST = "first"
FIRST_EVERY_S = 0.5


def first_place(settings: RecorderSettings) -> Place:
    """Where the recorder publishes."""
    return _directory(settings, FIRST, settings.store, FIRST_EVERY_S)


def further_places(settings: RecorderSettings, clock: Clock) -> list[Place]:
    """The further sets. Connects to nothing. Raises ConfigurationError."""
    return [further_place(settings, one, clock) for one in settings.stores]


def further_place(
    settings: RecorderSettings, one: DirectoryStore | S3StoreSettings, clock: Clock
) -> Place:
    """One of them."""
    if isinstance(one, DirectoryStore):
        return _directory(settings, one.name, one.path, one.every_s)
    keep_for = timedelta(days=settings.retain_days)
    make = bucket_stores(settings, one, bucket_of(one, clock), clock)
    return Place(
        name=one.name, store=lambda log: make(str(log.log_id)), every_s=one.every_s,
        keep_for=keep_for,
    )  # fmt: skip


def bucket_stores(
    settings: RecorderSettings, one: S3StoreSettings, bucket: Bucket, clock: Clock
) -> Callable[[str], S3Store]:
    """A store per log id."""
    keep_for, edge_for = timedelta(days=settings.retain_days), timedelta(days=one.edge_days)
    return lambda log_id: S3Store(bucket, f"{one.prefix}{log_id}/", clock, keep_for, edge_for)


def bucket_of(one: S3StoreSettings, clock: Clock) -> Bucket:
    return Bucket(
        one.endpoint, one.region, one.bucket, one.credentials_file, clock, one.ca_file
    )  # fmt: skip


def sealed_directories(settings: RecorderSettings) -> list[Path]:
    """What the sealer looks after."""
    further = [one.path for one in settings.stores if isinstance(one, DirectoryStore)]
    return [settings.store, *further]


def tells_worm(worm: Callable[[], Mapping[str, Worm]]) -> Check:
    """Whether each store's files are permanent, for /readyz. A word, never a failure: trading goes on."""

    async def tell() -> str:
        return ", ".join(f"{name}: {word}" for name, word in worm().items())

    return tell


def _directory(settings: RecorderSettings, name: str, path: Path, every_s: float) -> Place:
    sealing = None if settings.sealer is None else SealerClient(settings.sealer)

    def store(log: Log) -> Store:
        if (
            name != FIRST and not path.is_dir()
        ):  # a disk that is not mounted, and must not be imitated
            raise FileNotFoundError(f"{path}, the store {name!r}, is not there")
        made = PosixStore(path / str(log.log_id), sealing)
        made.look()
        return made

    keep_for = timedelta(days=settings.retain_days)
    return Place(name=name, store=store, every_s=every_s, keep_for=keep_for)
