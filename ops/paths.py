"""Where an installation of one user keeps things: `var/`, and a short directory for its sockets.

A Unix socket's path has at most 107 bytes and a clone may lie anywhere, so sockets are in
`var/run` only where that is short; else in `/tmp/portcullis-<uid>-<hash of var>`. That directory
is refused where it belongs to somebody else: /tmp is everybody's.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import msgspec

from tenancy.errors import ConfigurationError

LONGEST_NAME = "/pg/.s.PGSQL.5432.lock"
SUN_PATH_BYTES = 107


class Places(msgspec.Struct, frozen=True):
    """The directories under one `var`."""

    var: Path
    runtime: Path

    @property
    def settings(self) -> Path:
        return self.var / "portcullis.toml"

    @property
    def log(self) -> Path:
        return self.var / "log"

    @property
    def keys(self) -> Path:
        """Keys of the management API that this host uses, one file each."""
        return self.var / "secrets" / "keys"

    @property
    def state(self) -> Path:
        return self.runtime / "state.json"


def places(var: Path) -> Places:
    """The places under `var`; makes nothing."""
    var = var.absolute()
    inside = var / "run"
    if len(os.fsencode(inside)) + len(LONGEST_NAME) <= SUN_PATH_BYTES:
        return Places(var, inside)
    name = hashlib.sha256(os.fsencode(var)).hexdigest()[:12]
    return Places(var, Path(f"/tmp/portcullis-{os.getuid()}-{name}"))  # noqa: S108 - see make_private


def make_private(directory: Path) -> Path:
    """Make `directory`, ours and closed to others' eyes.

    0711 for root, whose PostgreSQL runs as another user and must pass through; 0700 for
    everybody else. Raises ConfigurationError where it exists and is not ours.
    """
    mode = 0o711 if os.geteuid() == 0 else 0o700
    directory.mkdir(parents=True, exist_ok=True, mode=mode)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigurationError(f"{directory} belongs to somebody else: move it away")
    directory.chmod(mode)
    return directory
