"""The operations that every kind of object has: list, create, read, change, remove, history, rollback.

One file per kind says what is its own (strategies.py, accounts.py, …); what they share is written
once, here, and every change goes through gateway/admin/changes.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.admin import changes
from gateway.admin.changes import Made, ObjectKind, by
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_cursor, read_id, write_cursor
from gateway.admin.reading import merged
from tenancy.errors import NotFound, Stale
from tenancy.store import documents
from tenancy.store.documents import Stored

D = TypeVar("D", bound=msgspec.Struct)


class Proposed(msgspec.Struct, frozen=True, kw_only=True):
    """The change waits for a second person: nothing has changed yet."""

    proposal_id: UUID
    status: str = "proposed"


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an object: what was, what is, who, why. `after` is null where it went away."""

    revision: int
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    actor: dict[str, str]
    why: str
    proposal_id: UUID | None
    at: datetime


class Rollback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Make the object again what it was at that revision."""

    revision: Annotated[int, Meta(ge=1)]


class Resource(msgspec.Struct, Generic[D], frozen=True, kw_only=True):
    """A kind of object at its address. `view`: the document with its id, facts and revision.

    `path`: "/v1/strategies"; `id_name`: "strategy_id". `filters`: the list's query, whose members
    besides limit, cursor and archived are columns. `create`: the body's type, None where objects are
    made in another way; `shows_once`: members that only the answer to it has.
    `ends`: how DELETE is called.
    """

    kind: ObjectKind[D]
    path: str
    id_name: str
    tag: str
    view: type
    resource: str
    text_ids: bool = False
    filters: type[PageQuery] = PageQuery
    create: type[D] | None = None
    shows_once: tuple[str, ...] = ()
    remove: bool = True
    ends: Literal["archive", "delete", "revoke"] = "archive"
    platform: bool = False

    @property
    def noun(self) -> str:
        return self.kind.table.noun

    @property
    def one(self) -> str:
        """The address of one of them."""
        return f"{self.path}/{{{self.id_name}}}"

    def show(self, stored: Stored[D]) -> Any:
        """As the API shows it."""
        fields = {
            name: getattr(stored.document, name) for name in stored.document.__struct_fields__
        }
        own: Any = stored.object_id if self.text_ids else UUID(stored.object_id)
        return self.view(**{self.id_name: own}, **fields, **stored.facts, revision=stored.revision)

    def shown(self, call: Call, stored: Stored[D]) -> Any:
        """As this call is shown it: for kinds whose view says more than their row."""
        return self.show(stored)

    def id_of(self, call: Call) -> UUID | str:
        return call.path[self.id_name] if self.text_ids else call.uuid(self.id_name)

    async def stored(self, call: Call, *, lock: bool = False) -> Stored[D]:
        """The object that the address names. Raises NotFound; Stale where If-Match says another revision."""
        stored = await documents.read(call.conn, self.kind.table, self.id_of(call), lock=lock)
        if call.if_match is not None and call.if_match != stored.revision:
            raise Stale(
                f"the {self.noun} is at revision {stored.revision}, not {call.if_match}: read it"
                " again and repeat the change on what it is now"
            )
        return stored

    async def answer(
        self, call: Call, object_id: UUID | str, made: Made, status: int = 200
    ) -> Result:
        """The object as it is now; or 202 with the proposal that waits for a second person."""
        if made.proposal is not None:
            return Result(
                status=202,
                content=Proposed(proposal_id=made.proposal),
                location=f"/v1/proposals/{made.proposal}",
            )
        stored = await documents.read(call.conn, self.kind.table, object_id)
        return Result(
            status=status,
            content=self.shown(call, stored),
            revision=stored.revision,
            location=f"{self.path}/{object_id}" if status == 201 else None,
        )

    def operations(self) -> list[Operation]:
        """All of them."""
        read, write = f"{self.resource}:read", f"{self.resource}:write"
        one = self.one
        plural = self.path.rsplit("/", 1)[-1].replace("-", "_")
        single = self.kind.name
        made: list[Operation] = [
            Operation(
                name=f"list_{plural}", method="GET", path=self.path, tag=self.tag, action=read,
                summary=f"List {plural.replace('_', ' ')}.", handle=self._list,
                query=self.filters, answer=Page[self.view], platform=self.platform,  # type: ignore[name-defined]
            ),
            Operation(
                name=f"get_{single}", method="GET", path=one, tag=self.tag, action=read,
                summary=f"Read one {self.noun}; its ETag is what a change needs.", handle=self._get,
                answer=self.view, problems=("not_found",), platform=self.platform,
            ),
            Operation(
                name=f"change_{single}", method="PATCH", path=one, tag=self.tag, action=write,
                summary=f"Change a {self.noun} by JSON Merge Patch; null takes a member away.",
                handle=self._change, merge_patch=self.kind.table.document, conditional=True,
                answer=self.view, also={202: Proposed}, platform=self.platform,
                problems=("not_found", "stale_revision", "conflict"),
            ),
            Operation(
                name=f"list_{single}_revisions", method="GET", path=f"{one}/revisions", tag=self.tag,
                action="revisions:read", summary=f"Every version of a {self.noun}, newest first.",
                handle=self._revisions, query=PageQuery, answer=Page[Revision],
                problems=("not_found",), platform=self.platform,
            ),
            Operation(
                name=f"roll_back_{single}", method="POST", path=f"{one}/rollback", tag=self.tag,
                action=write, summary=f"Make a {self.noun} what it was at an earlier revision.",
                handle=self._roll_back, body=Rollback, conditional=True, answer=self.view,
                also={202: Proposed}, problems=("not_found", "stale_revision", "conflict"),
                platform=self.platform,
            ),
        ]  # fmt: skip
        if self.create is not None:
            made.insert(1, Operation(
                name=f"create_{single}", method="POST", path=self.path, tag=self.tag, action=write,
                summary=f"Make a {self.noun}.", handle=self._create, body=self.create, status=201,
                answer=self.view, also={202: Proposed}, problems=("conflict",),
                shows_once=self.shows_once, platform=self.platform,
            ))  # fmt: skip
        if self.remove:
            made.append(Operation(
                name=f"{self.ends}_{single}", method="DELETE", path=one, tag=self.tag, action=write,
                summary=f"{self.ends.capitalize()} a {self.noun}: it acts no more, its history stays.",
                handle=self._remove, conditional=True, status=204, also={202: Proposed},
                problems=("not_found", "stale_revision", "conflict"), platform=self.platform,
            ))  # fmt: skip
        return made

    async def _list(self, call: Call) -> Result:
        query = call.query
        skip = {"limit", "cursor", "archived"}
        where = {
            name: value
            for name in query.__struct_fields__
            if name not in skip and (value := getattr(query, name)) is not None
        }
        rows = await documents.page(
            call.conn, self.kind.table, limit=query.limit, where=where,
            after=self._after(query.cursor), archived=bool(getattr(query, "archived", False)),
        )  # fmt: skip
        more = write_cursor(rows[-1].object_id) if len(rows) == query.limit else None
        return Result(content=Page(items=[self.shown(call, row) for row in rows], next=more))

    def _after(self, cursor: str | None) -> UUID | str | None:
        return read_cursor(cursor) if self.text_ids else read_id(cursor)

    async def _create(self, call: Call) -> Result:
        object_id, made = await changes.create(by(call), self.kind, call.body)
        return await self.answer(call, object_id, made, 201)

    async def _get(self, call: Call) -> Result:
        stored = await self.stored(call)
        return Result(content=self.shown(call, stored), revision=stored.revision)

    async def _change(self, call: Call) -> Result:
        stored = await self.stored(call, lock=True)
        assert call.patch is not None
        made = await changes.change(
            by(call), self.kind, stored, merged(stored.document, call.patch)
        )
        return await self.answer(call, stored.object_id, made)

    async def _remove(self, call: Call) -> Result:
        stored = await self.stored(call, lock=True)
        made = await changes.remove(by(call), self.kind, stored)
        return (
            Result() if made.proposal is None else await self.answer(call, stored.object_id, made)
        )

    async def _revisions(self, call: Call) -> Result:
        stored = await self.stored(call)
        before = read_cursor(call.query.cursor)
        rows = await revisions(
            call, self.kind.name, stored.object_id, limit=call.query.limit,
            before=int(before) if before and before.isdigit() else None,
        )  # fmt: skip
        more = write_cursor(str(rows[-1].revision)) if len(rows) == call.query.limit else None
        return Result(content=Page(items=rows, next=more))

    async def _roll_back(self, call: Call) -> Result:
        stored = await self.stored(call, lock=True)
        document = await self._document_at(call, stored, call.body.revision)
        made = await changes.change(by(call), self.kind, stored, document)
        return await self.answer(call, stored.object_id, made)

    async def _document_at(self, call: Call, stored: Stored[D], revision: int) -> D:
        """The document as of a revision: the newest one not after it that says the whole document."""
        row = await (
            await call.conn.execute(
                "SELECT after::text FROM revisions WHERE kind = %s AND object_id = %s"
                " AND revision <= %s AND before IS DISTINCT FROM after AND after ?& %s"
                " ORDER BY revision DESC LIMIT 1",
                (self.kind.name, stored.object_id, revision, _needed(self.kind.table.document)),
            )
        ).fetchone()
        if row is None:
            raise NotFound(f"the history knows no revision {revision} of this {self.noun}")
        return msgspec.json.decode(row[0], type=self.kind.table.document)


def _needed(document: type[msgspec.Struct]) -> list[str]:
    """The members that every whole document has."""
    return [field.encode_name for field in msgspec.structs.fields(document) if field.required]


async def revisions(
    call: Call, kind: str, object_id: str, *, limit: int, before: int | None
) -> list[Revision]:
    """Newest first, those before `before`."""
    cursor = await call.conn.execute(
        "SELECT revision, before, after, actor, why, proposal_id, at FROM revisions"
        " WHERE kind = %s AND object_id = %s AND (%s::bigint IS NULL OR revision < %s)"
        " ORDER BY revision DESC LIMIT %s",
        (kind, object_id, before, before, limit),
    )
    return [
        Revision(
            revision=row[0], before=row[1], after=row[2], actor=row[3], why=row[4],
            proposal_id=row[5], at=row[6],
        )
        for row in await cursor.fetchall()
    ]  # fmt: skip
