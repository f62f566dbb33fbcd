"""Exports that were asked for are made, one after the other, by the clock (gateway/admin/scheduler.py).

1. The row becomes `making`, with a new attempt's number.
2. The package is made in a directory of the attempt's own (audit/export/package.py has the steps).
3. It is put into one zip, flushed, and given its name.
4. The row becomes `made`, if this attempt is still the last one.

A crash anywhere leaves a row that is `asked` or `making`: the next turn makes it from the beginning.
Two turns at once (the lock of a turn can be lost) write into different directories, and only the later
attempt's row counts. What cannot be made at all is `failed`, and says why, also in the log. An export
that a part is away for (PostgreSQL, the signer) waits for the next turn.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import zipfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import structlog

from audit.export.check import file_sha256
from audit.export.package import Exporter, Made, Plan
from audit.inbox import Entry, append
from audit.malformed import Malformed
from audit.record import Kind
from fanout.owned import orders_of_strategies
from gateway.admin.archive import Archive
from gateway.admin.exports import NewExport, selection_of
from gateway.admin.operation import Services
from tenancy.errors import OutcomeUnknown, PortcullisError, Unavailable
from tenancy.scope import Actor, TenantScope
from tenancy.values import TenantID

log = structlog.get_logger()

KEPT = timedelta(days=7)
CLERK = Actor("sys", "exports")
WAITS = (Unavailable, OutcomeUnknown)
"""A part is away: nothing is known to be wrong with the export."""

_BEGIN = """
UPDATE audit_exports SET state = 'making', attempt = attempt + 1
WHERE export_id = %s AND state IN ('asked', 'making') RETURNING attempt, wanted, why, asked_by"""
_DONE = """
UPDATE audit_exports SET state = 'made', done_at = %s, records = %s, bytes = %s, sha256 = %s,
       manifest_sha256 = %s, log_size = %s, expires_at = %s
WHERE export_id = %s AND state = 'making' AND attempt = %s"""
_FAILED = """
UPDATE audit_exports SET state = 'failed', done_at = %s, failure = %s
WHERE export_id = %s AND state = 'making' AND attempt = %s"""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One export to make. `scope`: the asker's."""

    export_id: UUID
    scope: TenantScope
    attempt: int
    wanted: NewExport


async def make_exports(services: Services) -> int:
    """A scheduler's job: all that wait. How many were made."""
    if services.archive is None:
        return 0
    made = 0
    for export, tenant in await _found(services, "SELECT * FROM find_exports_to_make()"):
        job = await _begin(services, export, TenantID(tenant))
        if job is not None and await _one(services, services.archive, job):
            made += 1
    return made


async def remove_exports(services: Services) -> int:
    """A scheduler's job: files whose time is over. How many."""
    if services.archive is None:
        return 0
    now = services.clock.now()
    found = await _found(services, "SELECT * FROM find_exports_to_remove(%s)", now)
    for export, tenant in found:
        (services.archive.exports / f"{export}.zip").unlink(missing_ok=True)
        async with services.database.tenant(TenantScope(TenantID(tenant), CLERK)) as conn:
            await conn.execute(
                "UPDATE audit_exports SET state = 'gone' WHERE export_id = %s AND state = 'made'",
                (export,),
            )
    return len(found)


async def _found(services: Services, query: str, *values: Any) -> Sequence[tuple[UUID, UUID]]:
    async with services.database.shared() as conn:
        rows = await (await conn.execute(query.encode(), values)).fetchall()
    return [(row[0], row[1]) for row in rows]


async def _begin(services: Services, export: UUID, tenant: TenantID) -> Job | None:
    """Step 1; None where somebody else was faster."""
    async with services.database.tenant(TenantScope(tenant, CLERK)) as conn:
        row = await (await conn.execute(_BEGIN, (export,))).fetchone()
    if row is None:
        return None
    attempt, wanted, why, asked_by = row
    return Job(
        export_id=export, attempt=attempt, wanted=msgspec.convert({**wanted, "reason": why}, NewExport),
        scope=TenantScope(tenant, msgspec.convert(asked_by, Actor)),
    )  # fmt: skip


async def _one(services: Services, archive: Archive, job: Job) -> bool:
    work = archive.exports / f"{job.export_id}.{job.attempt}"
    try:
        made = await _make(services, archive, job, work)
        size, digest = await asyncio.to_thread(
            _pack, work, archive.exports / f"{job.export_id}.zip"
        )
        await _done(services, job, made, size, digest)
    except WAITS as error:
        log.warning("export_waits", export=str(job.export_id), why=str(error))
        return False
    except (PortcullisError, Malformed, OSError) as error:
        log.error("export_failed", export=str(job.export_id), why=str(error))
        await _fail(services, job, str(error))
        return False
    finally:
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
    log.info("export_made", export=str(job.export_id), records=made.records, bytes=size)
    return True


async def _make(services: Services, archive: Archive, job: Job, work: Path) -> Made:
    """Step 2."""
    wanted = job.wanted
    exporter = Exporter(
        services.database, job.scope, archive.store, services.clock, opener=archive.opener,
        owned=orders_of_strategies, policy=archive.policy,
    )  # fmt: skip
    plan = Plan(
        export_id=job.export_id, selection=selection_of(wanted), formats=wanted.formats,
        sealed=wanted.sealed, regime=wanted.regime, why=wanted.reason, asked=True,
        facts={"attempt": job.attempt},
    )  # fmt: skip
    return await exporter.make(plan, work)


def _pack(directory: Path, file: Path) -> tuple[int, str]:
    """Step 3: size and SHA-256 of the zip. Nobody sees it before it is whole."""
    part = file.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(directory))
    with part.open("rb") as written:
        os.fsync(written.fileno())
    digest = file_sha256(part)
    part.chmod(0o600)
    part.replace(file)
    return file.stat().st_size, digest


async def _done(services: Services, job: Job, made: Made, size: int, digest: str) -> None:
    """Step 4."""
    now = services.clock.now()
    async with services.database.tenant(job.scope) as conn:
        await conn.execute(
            _DONE,
            (now, made.records, size, digest, made.manifest_sha256, made.size, now + KEPT,
             job.export_id, job.attempt),
        )  # fmt: skip


async def _fail(services: Services, job: Job, why: str) -> None:
    now = services.clock.now()
    said = {"event": "export_failed", "export": str(job.export_id), "why": why}
    entry = Entry(
        kind=Kind.EXPORT, ts_ns=services.clock.now_ns(), payload=said, actor=job.scope.actor,
        cls="admin",
    )  # fmt: skip
    async with services.database.tenant(job.scope) as conn:
        done = await conn.execute(_FAILED, (now, why[:1000], job.export_id, job.attempt))
        if done.rowcount:
            await append(conn, [(job.scope.tenant_id, entry)])
