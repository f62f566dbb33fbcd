"""PostgreSQL on a restored data directory, whoever ran it before: on its own socket alone, and for us alone.

What a base backup brings of settings was another host's: Patroni's addresses, certificates and pg_hba.conf,
its choice of a standby, and every recovery target emptied, which PostgreSQL 15 takes for a second one beside
ours. Its postgresql.conf and pg_hba.conf are not read; what ALTER SYSTEM wrote is overruled on the command
line. Nothing is written over, so that the directory can be given back to Patroni as it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ops.paths import Places
from ops.stack.postgres import DATABASE, PORT, Postgres

HBA = "local all all trust\n"
"""Whoever reaches the socket: its directory is closed to all but who runs the server, and root."""


class RestoredPostgres(Postgres):
    """`superuser`: who is above all others in this cluster."""

    def __init__(
        self, places: Places, superuser: str, more: Mapping[str, str] | None = None
    ) -> None:
        self._superuser = superuser
        self._hba = places.runtime / "pg" / "hba.conf"
        self._nothing = places.runtime / "pg" / "postgresql.conf"
        files = {"config_file": str(self._nothing), "hba_file": str(self._hba)}
        ours = {**files, "port": str(PORT), "ssl": "off", "archive_mode": "off"}
        alone = {"synchronous_standby_names": ""}
        super().__init__(places, {**ours, **alone, **(more or {})})

    def prepare(self) -> None:
        super().prepare()
        found = self.data.stat()
        for path, text in ((self._hba, HBA), (self._nothing, "")):
            path.write_text(text)
            os.chown(path, found.st_uid, found.st_gid)

    def superuser(self, database: str = DATABASE) -> str:
        return self._conninfo(self._superuser, database)
