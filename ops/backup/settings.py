"""What an operator says of backups: `[backup]` of the settings file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

APPLICATION = "portcullis_wal"
"""What the archive calls itself in pg_stat_replication and in synchronous_standby_names."""
SLOT = "portcullis_wal"


class BackupSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`directory`: the repository, best on another machine's disk; `portcullis backup prepare` makes it.

    `database`: a libpq connection string of the role `portcullis_backup`, which may replicate and reads
    nothing; a password belongs in `passfile`. `synchronous`: every commit waits until the archive has
    it, so that nothing acknowledged can be lost with this host's disk; while the archive is away nothing
    is acknowledged. False: commits never wait, and what the archive lags behind is lost with the disk.
    `tokens`: the encrypted copy that `portcullis hsm backup` wrote after the last ceremony; each backup
    carries it. `keep`: so many base backups stay.
    """

    directory: Path
    database: str
    synchronous: bool
    keep: Annotated[int, Meta(ge=1, le=1000)]
    tokens: Path | None = None

    def __post_init__(self) -> None:
        if "password=" in self.database.replace(" ", "").lower():
            raise ValueError("database: holds a password; name a `passfile=` instead")
