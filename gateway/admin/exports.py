"""Exports of the audit log, asked for here, made by the clock (export_jobs.py), fetched here as one file.

Asking leaves a record in the asker's name, in the transaction that takes the job; so does what was
made of it, with the manifest's SHA-256, and every time the file is handed out. The file is removed
after a week; the row, the records and the log stay, and the same can be asked for again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta
from psycopg.rows import dict_row

from audit.export.package import Format
from audit.export.regimes import Name as Regime
from audit.export.selection import IDs, OrderIDs, Selection, Time
from audit.record import Kind
from gateway.admin import changes
from gateway.admin.archive import Archive
from gateway.admin.changes import by
from gateway.admin.errors import ExportPending
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_id, write_cursor
from tenancy.errors import ConfigurationError, Invalid, NotFound
from tenancy.ids import new_id
from tenancy.scope import Actor

TAG = "Audit"
State = Literal["asked", "making", "made", "failed", "gone"]
OPEN_MOST = 10
"""Exports of one tenant that wait or are being made."""


class NewExport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which records, in which forms. Members that are given must all agree; in one any value will do.

    `since`, `until`: the recording time. `formats`: besides JSON lines. `regime`: what a rule asks for
    besides. `sealed`: leave payloads encrypted, for an examiner who has a key.
    """

    reason: Annotated[str, Meta(min_length=1, max_length=1000)]
    orders: OrderIDs = ()
    accounts: IDs = ()
    strategies: IDs = ()
    people: IDs = ()
    kinds: Annotated[tuple[Kind, ...], Meta(max_length=len(Kind))] = ()
    since: Time | None = None
    until: Time | None = None
    formats: frozenset[Format] = frozenset({"csv", "html"})
    regime: Regime | None = None
    sealed: bool = False


class ExportView(msgspec.Struct, frozen=True, kw_only=True):
    """`sha256`: of the file; `manifest_sha256`: of the manifest in it, as the log's record says."""

    export_id: UUID
    wanted: dict[str, Any]
    reason: str
    asked_by: Actor
    asked_at: datetime
    state: State
    done_at: datetime | None
    records: int | None
    bytes: int | None
    sha256: str | None
    manifest_sha256: str | None
    log_size: int | None
    failure: str | None
    expires_at: datetime | None


_SHOWN = """
SELECT export_id, wanted, why AS reason, asked_by, asked_at, state, done_at, records, bytes, sha256,
       manifest_sha256, log_size, failure, expires_at FROM audit_exports"""
_OPEN = "SELECT count(*) FROM audit_exports WHERE state IN ('asked', 'making')"
_ASK = """
INSERT INTO audit_exports (export_id, tenant_id, wanted, why, asked_by, asked_at)
VALUES (%s, %s, %s::jsonb, %s, %s::jsonb, %s)"""


def selection_of(wanted: NewExport) -> Selection:
    """What to choose. Raises Invalid."""
    names = Selection.__struct_fields__
    try:
        return Selection(**{name: getattr(wanted, name) for name in names})
    except ValueError as error:
        raise Invalid(str(error), field=str(error).partition(":")[0]) from None


def archive_of(call: Call) -> Archive:
    """Raises ConfigurationError where the process was started without the audit log's store."""
    if call.services.archive is None:
        raise ConfigurationError("this process was started without the audit log's store")
    return call.services.archive


async def _ask(call: Call) -> Result:
    wanted: NewExport = call.body
    archive_of(call)
    selection_of(wanted)
    row = await (await call.conn.execute(_OPEN)).fetchone()
    if row is not None and row[0] >= OPEN_MOST:
        raise ExportPending(
            f"{OPEN_MOST} exports of this tenant wait already: fetch or await those"
        )
    export, now = new_id(), call.services.clock.now()
    said = msgspec.to_builtins(wanted)
    del said["reason"]
    actor = msgspec.json.encode(call.scope.actor).decode()
    await call.conn.execute(
        _ASK,
        (
            export,
            call.scope.tenant_id,
            msgspec.json.encode(said).decode(),
            wanted.reason,
            actor,
            now,
        ),
    )
    await changes.record_change(by(call), Kind.EXPORT, {
        "event": "export_asked", "export": str(export), **said, "why": wanted.reason,
        "client": call.client,
    })  # fmt: skip
    return Result(content=await _view(call, export), location=f"/v1/audit/exports/{export}")


async def _view(call: Call, export: UUID) -> ExportView:
    cursor = call.conn.cursor(row_factory=dict_row)
    await cursor.execute(f"{_SHOWN} WHERE export_id = %s".encode(), (export,))
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(f"there is no export {export} in this tenant")
    return msgspec.convert(row, ExportView)


async def _get(call: Call) -> Result:
    return Result(content=await _view(call, call.uuid("export_id")))


async def _list(call: Call) -> Result:
    query: PageQuery = call.query
    before = read_id(query.cursor)
    cursor = call.conn.cursor(row_factory=dict_row)
    await cursor.execute(
        f"{_SHOWN} WHERE %(before)s::uuid IS NULL OR export_id < %(before)s"
        " ORDER BY export_id DESC LIMIT %(limit)s".encode(),
        {"before": before, "limit": query.limit},
    )
    rows = [msgspec.convert(row, ExportView) for row in await cursor.fetchall()]
    more = write_cursor(str(rows[-1].export_id)) if len(rows) == query.limit else None
    return Result(content=Page(items=rows, next=more))


async def _fetch(call: Call) -> Result:
    export = call.uuid("export_id")
    view = await _view(call, export)
    if view.state in ("asked", "making"):
        raise ExportPending("this export is not made yet: look again")
    path = archive_of(call).exports / f"{export}.zip"
    if view.state != "made" or not path.is_file():
        raise NotFound("the file is not here any more, or lies on another host: ask for it again")
    facts = {"event": "export_fetched", "export": str(export), "sha256": view.sha256,
             "client": call.client}  # fmt: skip
    await changes.record_change(by(call), Kind.EXPORT, facts)
    return Result(file=path, headers=(("digest", f"sha-256={view.sha256}"),))


_ADDRESS = "/v1/audit/exports"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="ask_export", method="POST", path=_ADDRESS, tag=TAG, action="audit:export",
        summary="Ask for records of the audit log with their proofs; they are made by and by.",
        handle=_ask, body=NewExport, answer=ExportView, status=202,
        problems=("export_pending",),
        detail="Look at the job until its state is `made`, then fetch its file. Each step leaves a"
        " record in the log, in your name.",
    ),
    Operation(
        name="list_exports", method="GET", path=_ADDRESS, tag=TAG, action="audit:read",
        summary="List exports, newest first: who asked for what, and what became of it.",
        handle=_list, query=PageQuery, answer=Page[ExportView],
    ),
    Operation(
        name="get_export", method="GET", path=f"{_ADDRESS}/{{export_id}}", tag=TAG,
        action="audit:read", summary="Read how far an export is.", handle=_get, answer=ExportView,
        problems=("not_found",),
    ),
    Operation(
        name="fetch_export", method="GET", path=f"{_ADDRESS}/{{export_id}}/file", tag=TAG,
        action="audit:export", summary="Fetch an export: a zip of the whole package; it is recorded.",
        handle=_fetch, media=("application/zip",), answer=None,
        problems=("not_found", "export_pending"),
    ),
)  # fmt: skip
