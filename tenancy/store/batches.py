"""SQL of many objects of one kind at once: each step is one statement, however many rows there are.

What is per statement (the trigger that moves strategies' versions, the round trip) is paid once.
The rows travel as one JSON array, which the table's own row type reads: a column's type is said
nowhere twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import psycopg

from tenancy.database import Connection
from tenancy.errors import Conflict, Invalid, Stale
from tenancy.scope import TenantScope
from tenancy.store.documents import Stored, Table

D = TypeVar("D", bound=msgspec.Struct)


class New(msgspec.Struct, frozen=True, kw_only=True):
    """A row to be. `extra`: columns that are no part of the document."""

    object_id: str
    document: msgspec.Struct
    extra: Mapping[str, Any] = {}


async def read_all(conn: Connection, table: Table[D], page: Any) -> list[Stored[D]]:
    """Every object that is not history; `page` is documents.page, which is asked until there is no more."""
    found: list[Stored[D]] = []
    after: str | None = None
    while True:
        rows = await page(conn, table, limit=10_000, after=after)
        found += rows
        if len(rows) < 10_000:
            return found
        after = rows[-1].object_id


async def insert_all(
    conn: Connection, scope: TenantScope, table: Table[Any], rows: Sequence[New]
) -> None:
    """New rows at revision 1, all or none. Raises Conflict, Invalid: without saying which row."""
    if not rows:
        return
    made = [
        {table.key: row.object_id, "tenant_id": str(scope.tenant_id), **plain(row.document),
         **row.extra}
        for row in rows
    ]  # fmt: skip
    columns = list(dict.fromkeys(name for row in made for name in row))
    names = ", ".join(columns)
    # A column that a row does not name is NULL in the record: what is absent must be absent in all.
    query = (
        f"INSERT INTO {table.table} ({names}) SELECT {names}"  # noqa: S608 - names from our own code
        f" FROM jsonb_populate_recordset(NULL::{table.table}, %s::jsonb)"
    )
    await _execute(conn, table, query, [_json(made)])


async def write_all(
    conn: Connection, table: Table[Any], rows: Sequence[tuple[Stored[Any], msgspec.Struct]]
) -> None:
    """Other documents in place of those that were read. Raises Stale where one has moved on meanwhile."""
    if not rows:
        return
    made = [
        {table.key: stored.object_id, "revision": stored.revision, **plain(document)}
        for stored, document in rows
    ]
    sets = ", ".join(f"{c} = r.{c}" for c in table.columns if c not in table.fixed)
    query = (
        f"UPDATE {table.table} t SET {sets}, revision = t.revision + 1"  # noqa: S608
        f" FROM jsonb_populate_recordset(NULL::{table.table}, %s::jsonb) r"
        f" WHERE t.{table.key} = r.{table.key} AND t.revision = r.revision"
    )
    await _moved(conn, table, query, [_json(made)], len(rows))


async def archive_all(conn: Connection, table: Table[Any], rows: Sequence[Stored[Any]]) -> None:
    """Make them history, or delete them where their table keeps none. Raises Stale, Conflict."""
    if not rows:
        return
    made = [{table.key: row.object_id, "revision": row.revision} for row in rows]
    source = f"jsonb_populate_recordset(NULL::{table.table}, %s::jsonb) r"
    match = f"t.{table.key} = r.{table.key} AND t.revision = r.revision"
    if table.archived:
        query = (
            f"UPDATE {table.table} t SET {table.archived} = now(), revision = t.revision + 1"  # noqa: S608
            f" FROM {source} WHERE {match} AND t.{table.archived} IS NULL"
        )
    else:
        query = f"DELETE FROM {table.table} t USING {source} WHERE {match}"  # noqa: S608
    await _moved(conn, table, query, [_json(made)], len(rows))


def plain(document: msgspec.Struct) -> dict[str, Any]:
    """Every member, null where it is absent: as a row has it."""
    return {
        name: msgspec.to_builtins(getattr(document, name)) for name in document.__struct_fields__
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


async def _moved(
    conn: Connection, table: Table[Any], query: str, values: Sequence[Any], wanted: int
) -> None:
    if await _execute(conn, table, query, values) != wanted:
        raise Stale(
            f"a {table.noun} was changed by somebody else meanwhile: read again, and repeat the"
            " change on what is there now"
        )


async def _execute(conn: Connection, table: Table[Any], query: str, values: Sequence[Any]) -> int:
    try:
        return (await conn.execute(query.encode(), values)).rowcount
    except psycopg.errors.UniqueViolation as error:
        constraint = error.diag.constraint_name or ""
        known = table.names.get(constraint, f"a {table.noun} clashes with another ({constraint})")
        raise Conflict(known) from None
    except (
        psycopg.errors.ForeignKeyViolation,
        psycopg.errors.CheckViolation,
        psycopg.errors.NotNullViolation,
        psycopg.errors.DataError,
    ) as error:
        what = error.diag.constraint_name or error.diag.message_primary
        raise Invalid(f"a {table.noun} cannot be kept: {what}") from None
