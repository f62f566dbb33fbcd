"""PostgreSQL and Redis of a fresh installation, and nothing of the product: what accept and audit stand on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ops.initialise import Choices, initialise
from ops.paths import places
from ops.settings import DatabaseSettings
from ops.stack.postgres import Postgres
from ops.stack.redis import RedisServer
from ops.trial.installation import remove


class Stores(msgspec.Struct, frozen=True):
    """Connection strings; `superuser` for the floor and for set-up, never for the product."""

    roles: DatabaseSettings
    superuser: str
    redis_socket: str
    directory: Path


@contextmanager
def stores() -> Iterator[Stores]:
    """Both servers, for the length of the block. Raises ConfigurationError, Unavailable."""
    with passable_directory() as directory:
        where = places(directory / "var")
        settings = initialise(where, Choices(), datetime.now(UTC))
        postgres, redis = Postgres(where), RedisServer(where)
        try:
            postgres.start()
            redis.start()
            yield Stores(settings.database, postgres.superuser(), str(redis.socket), directory)
        finally:
            redis.stop()
            postgres.stop()
            remove(where)


@contextmanager
def passable_directory() -> Iterator[Path]:
    """A temporary directory that PostgreSQL's user may pass through."""
    with tempfile.TemporaryDirectory(prefix="pc-bench-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)
