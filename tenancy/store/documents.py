"""SQL of everything that people set up: a document is a row's editable columns, with a revision.

One way for all of them: `read`, `page`, `insert`, `write`, `archive`. `write` and `archive` take the
revision that the change was made for and raise Stale where the row has moved on, so that of two
people who change the same thing at once the second is told. Names of tables and columns come from
the descriptions in the code (gateway/admin/kinds.py), never from a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
import psycopg
from psycopg.rows import dict_row

from tenancy.database import Connection
from tenancy.errors import Conflict, Invalid, NotFound, Stale
from tenancy.scope import TenantScope

D = TypeVar("D", bound=msgspec.Struct)


class Table(msgspec.Struct, Generic[D], frozen=True, kw_only=True):
    """Where a document lives. `facts`: columns that are shown but not edited. `json`: columns of JSON.

    `read_as`: column or fact → the SQL that says it where its name alone does not (another type, or
    something that follows from the row). `write_as`: column → the placeholder that makes it the
    table's type. `fixed`: members that stay as they were made. `archived`: the column that says
    since when the row is history; empty where rows are deleted. `names`: constraint → what to tell
    the person who ran into it.
    """

    noun: str
    table: str
    key: str
    document: type[D]
    facts: tuple[str, ...] = ()
    json: frozenset[str] = frozenset()
    read_as: Mapping[str, str] = {}
    write_as: Mapping[str, str] = {}
    fixed: frozenset[str] = frozenset()
    archived: str = "archived_at"
    names: Mapping[str, str] = {}

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.document.__struct_fields__)


class Stored(msgspec.Struct, Generic[D], frozen=True, kw_only=True):
    """A row as it is now. `object_id` as it is written in an address."""

    object_id: str
    document: D
    revision: int
    facts: dict[str, Any]


async def read(
    conn: Connection, table: Table[D], object_id: UUID | str, *, lock: bool = False
) -> Stored[D]:
    """The object, archived or not. Raises NotFound, also for another tenant's."""
    query = f"{_select(table)} WHERE {table.key} = %s{' FOR UPDATE' if lock else ''}"
    cursor = conn.cursor(row_factory=dict_row)
    try:
        await cursor.execute(query.encode(), (object_id,))
    except psycopg.errors.InsufficientPrivilege:
        raise NotFound(f"there is no {table.noun} {object_id} that may be changed") from None
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(f"there is no {table.noun} {object_id} in this tenant")
    return _stored(table, row)


async def page(
    conn: Connection,
    table: Table[D],
    *,
    limit: int,
    after: UUID | str | None = None,
    where: Mapping[str, Any] | None = None,
    archived: bool = False,
) -> list[Stored[D]]:
    """Up to `limit` objects by their keys, those after `after`. `where`: column → value."""
    conditions = [f"{column} = %s" for column in (where or {})]
    values: list[Any] = list((where or {}).values())
    if table.archived and not archived:
        conditions.append(f"{table.archived} IS NULL")
    if after is not None:
        conditions.append(f"{table.key} > %s")
        values.append(after)
    query = (
        f"{_select(table)} WHERE {' AND '.join(conditions) or 'true'} ORDER BY {table.key} LIMIT %s"
    )
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(query.encode(), [*values, limit])
    return [_stored(table, row) for row in await cursor.fetchall()]


async def insert(
    conn: Connection,
    scope: TenantScope,
    table: Table[D],
    object_id: UUID | str,
    document: D,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """A new row at revision 1. `extra`: columns that are no part of the document.

    Raises Conflict for a name in use, Invalid for a value that the table refuses.
    """
    row = {
        table.key: object_id,
        "tenant_id": scope.tenant_id,
        **_row(table, document),
        **(extra or {}),
    }
    query = f"INSERT INTO {table.table} ({', '.join(row)}) VALUES ({_places(table, row)})"  # noqa: S608
    await _execute(conn, table, query, list(row.values()))


async def write(
    conn: Connection, table: Table[D], object_id: UUID | str, document: D, base: int
) -> int:
    """Replace the document, but for what is fixed; the new revision. Raises Stale, Conflict, Invalid."""
    row = {c: value for c, value in _row(table, document).items() if c not in table.fixed}
    sets = ", ".join(f"{column} = {_place(table, column)}" for column in row)
    query = f"UPDATE {table.table} SET {sets}, revision = revision + 1 WHERE {_at(table)}"  # noqa: S608
    await _moved(conn, table, query, [*row.values(), object_id, base], object_id)
    return base + 1


async def put_fact(
    conn: Connection, table: Table[D], object_id: UUID | str, column: str, value: Any, base: int
) -> int:
    """Change one column that is no part of the document; the new revision. Raises Stale."""
    query = f"UPDATE {table.table} SET {column} = %s, revision = revision + 1 WHERE {_at(table)}"  # noqa: S608
    await _moved(conn, table, query, [value, object_id, base], object_id)
    return base + 1


async def archive(conn: Connection, table: Table[D], object_id: UUID | str, base: int) -> int:
    """Make it history, or delete it where its table keeps none. Raises Stale, Conflict."""
    if table.archived:
        query = (
            f"UPDATE {table.table} SET {table.archived} = now(), revision = revision + 1"  # noqa: S608
            f" WHERE {_at(table)} AND {table.archived} IS NULL"
        )
    else:
        query = f"DELETE FROM {table.table} WHERE {_at(table)}"  # noqa: S608
    await _moved(conn, table, query, [object_id, base], object_id)
    return base + 1


def _select(table: Table[Any]) -> str:
    columns = [_read(table, column) for column in (*table.columns, *table.facts)]
    return f"SELECT {', '.join([table.key, *columns, 'revision'])} FROM {table.table}"  # noqa: S608


def _read(table: Table[Any], column: str) -> str:
    plain = f"{column}::text" if column in table.json else column
    return f"{table.read_as.get(column, plain)} AS {column}"


def _at(table: Table[Any]) -> str:
    return f"{table.key} = %s AND revision = %s"


def _stored(table: Table[D], row: dict[str, Any]) -> Stored[D]:
    for column in table.json & row.keys():
        row[column] = msgspec.json.decode(row[column])
    fields = {column: row[column] for column in table.columns}
    return Stored(
        object_id=str(row[table.key]),
        document=msgspec.convert(fields, table.document, strict=False),
        revision=row["revision"],
        facts={column: row[column] for column in table.facts},
    )


def _row(table: Table[D], document: D) -> dict[str, Any]:
    """Column → value, JSON columns encoded. A member that is absent is NULL."""
    row: dict[str, Any] = {}
    for column in table.columns:
        value = getattr(document, column)
        if column in table.json:
            value = msgspec.json.encode(value).decode()
        elif isinstance(value, tuple):
            value = list(value)
        row[column] = value
    return row


def _places(table: Table[Any], row: Mapping[str, Any]) -> str:
    return ", ".join(_place(table, column) for column in row)


def _place(table: Table[Any], column: str) -> str:
    return table.write_as.get(column, "%s::jsonb" if column in table.json else "%s")


async def _moved(
    conn: Connection, table: Table[Any], query: str, values: Sequence[Any], object_id: object
) -> None:
    if await _execute(conn, table, query, values) != 1:
        raise Stale(
            f"the {table.noun} {object_id} was changed by somebody else meanwhile, or is archived:"
            " read it again and repeat the change on what it is now"
        )


async def _execute(conn: Connection, table: Table[Any], query: str, values: Sequence[Any]) -> int:
    try:
        return (await conn.execute(query.encode(), values)).rowcount
    except psycopg.errors.UniqueViolation as error:
        constraint = error.diag.constraint_name or ""
        text = table.names.get(constraint, f"the {table.noun} clashes with another ({constraint})")
        raise Conflict(text) from None
    except psycopg.errors.ForeignKeyViolation as error:
        column = (error.diag.constraint_name or "").removesuffix("_fkey")
        raise Invalid(
            f"{column.removeprefix(table.table + '_')}: there is no such object in this tenant, or"
            " something still refers to this one",
            field=column.removeprefix(table.table + "_"),
        ) from None
    except (psycopg.errors.CheckViolation, psycopg.errors.DataError) as error:
        what = error.diag.constraint_name or error.diag.message_primary
        raise Invalid(f"the {table.noun} cannot be kept: {what}") from None
