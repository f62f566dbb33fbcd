"""What goes wrong with the archive of commits, and with who looks at it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg

from ops.backup import prepare, tools
from ops.state import Process, end, identify
from tests.longer.alerts.breaking import FAULTS, again, beside, fault, logged_out, named, standing
from tests.longer.alerts.rarer import BEFORE as FIRST
from tests.longer.alerts.stage import Stage

RECEIVER = "pg_receivewal"


def receivers(stage: Stage) -> list[Process]:
    """The archive's children that receive."""
    (archive,) = named(stage, "archive-0")
    children = Path(f"/proc/{archive.pid}/task/{archive.pid}/children").read_text().split()
    found = [identify(int(pid)) for pid in children]
    return [
        one for one in found
        if one is not None and Path(f"/proc/{one.pid}/comm").read_text().strip() == RECEIVER
    ]  # fmt: skip


@fault("BackupOld", "BackupUndrilled", at_rest=True, within_s=75.0)
async def never(stage: Stage) -> AsyncIterator[None]:
    """nobody ever took a base backup, or drilled a restore"""
    yield


@fault("BackupRepositoryFull", at_rest=True, needs_root=True, within_s=75.0)
async def small(stage: Stage) -> AsyncIterator[None]:
    """the repository is on a disk of four gigabytes"""
    yield


@fault("BackupArchiveBehind")
async def hangs(stage: Stage) -> AsyncIterator[None]:
    """the archive's receiver hangs"""
    with standing(*receivers(stage)):
        async with beside(again(stage.signal, 1.0)):
            yield


@fault("BackupCommitsWait", within_s=40.0)
async def dies(stage: Stage) -> AsyncIterator[None]:
    """the archive's receiver is killed again and again"""

    async def kill() -> None:
        for one in receivers(stage):
            end(one, signal.SIGKILL, 2.0)

    async with beside(again(kill, 0.05)):
        yield


@fault("BackupNotSynchronous")
async def switched_off(stage: Stage) -> AsyncIterator[None]:
    """somebody has commits wait for nobody"""

    def switch(on: bool) -> None:
        with psycopg.connect(stage.superuser, autocommit=True) as conn:
            prepare.set_synchronous(conn, on, now=True)

    await asyncio.to_thread(switch, False)
    yield
    await asyncio.to_thread(switch, True)


@fault("BackupUnseen", within_s=40.0)
async def unseen(stage: Stage) -> AsyncIterator[None]:
    """the archive's role may not log in any more: what looks at PostgreSQL is refused"""
    async with logged_out(stage, prepare.ROLE, "portcullis-backup"):
        yield


@fault("BackupSlotLost")
async def slot_lost(stage: Stage) -> AsyncIterator[None]:
    """somebody drops the archive's slot"""
    backup = stage.ground.here.settings.backup
    assert backup is not None
    async with asyncio.timeout(10):
        while await stage.sql("SELECT 1 FROM pg_replication_slots"):
            await stage.sql(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active"
            )
            with contextlib.suppress(psycopg.errors.ObjectInUse):
                await stage.sql(
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                )
    yield
    await asyncio.to_thread(tools.create_slot, backup.database)


BEFORE = (*FIRST, *FAULTS[len(FIRST) :])
"""In this order; evidence.py goes on."""
