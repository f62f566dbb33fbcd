"""What a recorder does while another host's writes: it keeps its own host's set up with what is signed.

The set grows by the rows and by the checkpoint that PostgreSQL keeps, which the log's own keys have signed; so no
host fetches files from another, and each has all of them. Nothing is signed here, no row is written.
"""

from __future__ import annotations

from uuid import UUID

import structlog

from audit.integrator import Integrator
from audit.logs import read_logs
from audit.ports import LogHalted
from audit.recorder_session import Parts
from tenancy.database import Connection

log_event = structlog.get_logger()

_SIZES = """
SELECT l.log_id, (SELECT max(c.size) FROM audit_checkpoints c WHERE c.log_id = l.log_id) FROM audit_logs l"""


class Waiting:
    """`keep_up()` under the lock on this host's store, as often as the other lock is asked for."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._has: dict[UUID, int] = {}
        self._told: dict[UUID, str] = {}

    async def keep_up(self) -> None:
        """Each log whose signed size has grown. Raises Unavailable, psycopg.Error, OSError.

        A set that contradicts what is signed is left as it is, and told of once: opening it for writing will
        halt the log for the same reason.
        """
        async with self._parts.database.connection() as conn:
            grown = await self._grown(conn)
            for log in await read_logs(conn) if grown else ():
                if log.log_id not in grown:
                    continue
                store = self._parts.make_store(self._parts.store_dir / str(log.log_id))
                try:
                    await Integrator(log, store, self._parts.signer).open(conn)
                except LogHalted as error:
                    if self._told.get(log.log_id) != str(error):
                        log_event.error(
                            "audit_set_contradicts", log_id=str(log.log_id), why=str(error)
                        )
                    self._told[log.log_id] = str(error)
                self._has[log.log_id] = grown[log.log_id]

    async def _grown(self, conn: Connection) -> dict[UUID, int]:
        """The signed sizes of logs that are larger than when this host last looked."""
        sizes = await (await conn.execute(_SIZES)).fetchall()
        return {log: size for log, size in sizes if size and size > self._has.get(log, 0)}
