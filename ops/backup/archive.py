"""The archive's process: pg_receivewal under watch, and what it means shown as metrics.

pg_receivewal flushes what PostgreSQL sends and answers; where the settings say `synchronous` a commit
returns only then. When it ends (PostgreSQL restarted, the repository's disk full or away) it is started
again, after a pause that doubles from 0.1 s to 2 s; meanwhile commits wait, and nothing is acknowledged.
Beside it, once a second: how far the archive is, durably (flushed.json), sums of whole segments, metrics.

Nothing that is missing is made: without a repository or a slot the process says so and is not ready. From
another cluster than the repository's nothing is received: it is asked before each start of pg_receivewal.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import structlog

from ops.backup import metrics, standing, sums, tools
from ops.backup.archived import drop_unpadded
from ops.backup.cluster import CONNECT_S, check_cluster, check_server
from ops.backup.layout import Flushed, Places, read, write
from ops.backup.report import Report
from ops.backup.settings import BackupSettings
from tenancy.errors import PortcullisError, Unavailable
from tenancy.pause import pause

LOOK_EVERY_S = 1.0
REPOSITORY_EVERY_S = 30.0
BACKOFF_FIRST_S, BACKOFF_MOST_S = 0.1, 2.0
SETTLED_S = 10.0

log = structlog.get_logger()


class Archive:
    """Runs until told to stop."""

    def __init__(self, settings: BackupSettings, log_file: Path) -> None:
        """`log_file`: where pg_receivewal's own words go."""
        self._settings = settings
        self._places = Places(settings.directory)
        self._log_file = log_file
        self._lag = standing.Lag()
        self._look: standing.Look | None = None
        self._problem: str | None = "not looked at yet"
        self._looked_at = time.monotonic()
        self._repository_seen = -math.inf
        self._conn: psycopg.Connection | None = None
        self._is_checked = False

    async def run(self, stop: asyncio.Event) -> None:
        """Both halves. Raises ConfigurationError where there is no repository."""
        await asyncio.to_thread(self._places.identity)
        metrics.SYNCHRONOUS_WANTED.set(self._settings.synchronous)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(stop))
            group.create_task(self._watch(stop))
        if self._conn is not None:
            self._conn.close()

    async def check(self) -> str:
        """For /readyz. Raises Unavailable where a restore would lose something, saying what."""
        if (age_s := time.monotonic() - self._looked_at) > 10 * LOOK_EVERY_S:
            raise Unavailable(f"the repository has not answered for {age_s:.0f} s")
        if self._problem is not None:
            raise Unavailable(self._problem)
        return "synchronous" if self._settings.synchronous else "asynchronous"

    # ------------------------------------------------------------------ receiving

    async def _receive(self, stop: asyncio.Event) -> None:
        again_in_s = BACKOFF_FIRST_S
        while not stop.is_set():
            began = time.monotonic()
            status = await self._receive_once(stop)
            if stop.is_set():
                return
            metrics.RECEIVER_ENDS.inc()
            log.warning("backup_receiver_ended", status=status, again_in_s=again_in_s)
            if time.monotonic() - began > SETTLED_S:
                again_in_s = BACKOFF_FIRST_S
            await pause(stop, again_in_s)
            again_in_s = min(again_in_s * 2, BACKOFF_MOST_S)

    async def _receive_once(self, stop: asyncio.Event) -> int | str:
        """Until it ends or we do; SIGTERM lets pg_receivewal flush what it has."""
        try:
            await asyncio.to_thread(self._make_ready)
            with self._log_file.open("ab") as output:
                process = await asyncio.create_subprocess_exec(
                    *tools.receive(self._settings.database, self._places.wal),
                    stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, cwd="/",
                )  # fmt: skip
        except (OSError, PortcullisError) as error:
            return str(error)
        ending = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([ending, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if process.returncode is None:
                process.terminate()
            status = await ending
        return status

    def _make_ready(self) -> None:
        check_server(self._settings.database, self._places)
        for name in drop_unpadded(self._places, self._places.identity().segment_bytes):
            log.warning("backup_unpadded_segment_removed", name=name)

    # ------------------------------------------------------------------ watching

    async def _watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await asyncio.to_thread(self._look_once)
            except (psycopg.Error, PortcullisError, OSError) as error:
                metrics.LOOKS_FAILED.inc()
                if str(error) != self._problem:
                    log.warning("backup_not_looked_at", why=str(error))
                self._problem = str(error)
            await pause(stop, LOOK_EVERY_S)

    def _look_once(self) -> None:
        found: standing.Look | None = None
        try:
            with self._session() as conn:
                found = standing.look(conn)
        finally:
            standing.publish(found, self._lag.seconds(found, time.monotonic()))
        self._problem = standing.why_not(found, self._settings.synchronous)
        if found.flushed is not None:
            self._note_flushed(found)
        sums.add_new(self._places)
        if time.monotonic() - self._repository_seen > REPOSITORY_EVERY_S:
            self._see_repository()
        self._look, self._looked_at = found, time.monotonic()

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection]:
        """One connection, kept; a new one after an error."""
        if self._conn is None or self._conn.closed:
            self._conn = psycopg.connect(
                self._settings.database, autocommit=True, connect_timeout=CONNECT_S,
                application_name="portcullis-backup",
            )  # fmt: skip
            self._is_checked = False
        try:
            if not self._is_checked:
                check_cluster(self._conn, self._places)
                self._is_checked = True
            yield self._conn
        except psycopg.Error:
            self._conn.close()
            raise

    def _note_flushed(self, found: standing.Look) -> None:
        before = self._look
        if before is not None and (before.flushed, before.synchronous) == (
            found.flushed, found.synchronous,
        ):  # fmt: skip
            return
        assert found.flushed is not None
        note = Flushed(lsn=found.flushed, at=datetime.now(UTC), synchronous=found.synchronous)
        write(self._places.flushed, note)

    def _see_repository(self) -> None:
        backups, now = self._places.backups(), datetime.now(UTC)
        metrics.BASES.set(len(backups))
        newest = max((one.ended_at for one in backups), default=None)
        metrics.BASE_AGE.set(math.inf if newest is None else (now - newest).total_seconds())
        drills = [read(path, Report) for path in sorted(self._places.drills.glob("*.json"))]
        good = max((one.began_at for one in drills if one.proved), default=None)
        metrics.DRILL_AGE.set(math.inf if good is None else (now - good).total_seconds())
        metrics.FREE_BYTES.set(shutil.disk_usage(self._places.root).free)
        self._repository_seen = time.monotonic()
