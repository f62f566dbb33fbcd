"""PostgreSQL on a restored data directory, whoever ran it before: on its own socket alone, and for us alone.

What a base backup brings of settings was another host's: Patroni's addresses, certificates and pg_hba.conf, and
its choice of a standby. Whatever of it could keep this server from starting or let somebody in is overruled on
the command line; nothing is written over, so that the directory can be given back to Patroni as it is.
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
        ours = {"hba_file": str(self._hba), "port": str(PORT), "ssl": "off", "archive_mode": "off"}
        alone = {"synchronous_standby_names": ""}
        super().__init__(places, {**ours, **alone, **(more or {})})

    def prepare(self) -> None:
        super().prepare()
        self._hba.write_text(HBA)
        found = self.data.stat()
        os.chown(self._hba, found.st_uid, found.st_gid)

    def superuser(self, database: str = DATABASE) -> str:
        return self._conninfo(self._superuser, database)
