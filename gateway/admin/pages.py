"""A page of a long table: a range of one index, and a window of bounded length where filters leave rows over.

A question has conditions that one index answers (a `Range`) and conditions that are looked at row by row
(`filters`). Without the latter a page is exact: `limit` rows and whether there are more. With them

1. the next rows of the range are looked at, first a few, then more, at most LOOKED_AT_MAX in all;
2. those that fit are the page, and it goes on after the last row that was looked at.

So a page may be shorter than `limit`, even empty, while `next` says that there is more (as Google's AIP-158
has it); what is rare among millions costs several short answers and never one that takes seconds.

The server is left no choice of index. `symbol = 'X' ORDER BY signal_id` it might well answer from the index of
all orders, hoping to meet an X soon, and walk through millions if X was last traded in spring. So an equality
is written as a range that the order begins with: `symbol >= 'X' AND (symbol, signal_id, …) < ('X', …) ORDER BY
symbol DESC, signal_id DESC, …`, which one index has and no other. And it may not collect rows first and sort
them afterwards, as it would where its statistics say that there are few and are a day old.

The order is a key that no row ever changes, newest first: what was there when the first page was read comes
exactly once, whatever arrives meanwhile. A filter by something that changes (status) shows what is so now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tenancy.database import Connection

LOOKED_AT_MAX = 1_000
"""Rows that one page may look at."""

_STEER = (
    "SELECT "
    + ", ".join(
        f"set_config('{way}', 'off', true)"
        for way in (
            "enable_seqscan",
            "enable_bitmapscan",
            "enable_sort",
            "enable_hashjoin",
            "enable_mergejoin",
            "jit",
        )
    )
).encode()
"""Left are ranges in their index's order, and nested loops over them. A sort of the few rows of a
page remains where it must be, at a price beyond belief, for which the server would compile it: hence no jit."""

Key = tuple[Any, ...]
Row = tuple[Any, ...]


class Term(msgspec.Struct, frozen=True):
    """A condition with its values: constants of ours in `sql`, the caller's words in `values`."""

    sql: str
    values: tuple[Any, ...] = ()


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What is listed: `key` names the order (all descending) and begins `columns`.

    `source` is what a range is read from, with its own values; `beside` joins, to the rows of a range, what
    else is shown; `shown` are the columns of the answer, of `seen` (the range) and of what was joined.
    """

    source: str
    source_values: tuple[Any, ...] = ()
    key: tuple[str, ...]
    types: tuple[str, ...]
    """Of the key, as PostgreSQL calls them."""
    columns: tuple[str, ...]
    beside: str = ""
    shown: tuple[str, ...] = ()
    nulls: str = ""
    """How the index writes its order, where that is what tells it from another."""


class Lead(msgspec.Struct, frozen=True):
    """A column that is the same in the whole range, and stands before the key in its index."""

    column: str
    type: str
    value: Any


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Where to look: rows of `lead`, whose key's first column is in [low, high).

    `only`: what else holds for every row of the index (its predicate), or is one of its equalities.
    """

    lead: Lead | None = None
    low: Any = None
    high: Any = None
    only: tuple[Term, ...] = ()


class Found(msgspec.Struct, frozen=True):
    """The rows of a page, and the key after which the next one begins; None at the end."""

    rows: list[Row]
    after: Key | None


async def find(
    conn: Connection,
    listing: Listing,
    *,
    within: Range,
    filters: Sequence[Term],
    after: Key | None,
    limit: int,
) -> Found:
    """At most `limit` rows after that key, newest first. Steers the planner until the transaction ends."""
    await conn.execute(_STEER)
    if not filters:
        rows = await _run(conn, exact(listing, within, after, limit + 1))
        more = len(rows) > limit
        rows = rows[:limit]
        return Found(rows, rows[-1][: len(listing.key)] if more else None)
    rows, looked_at = [], 0
    for window in (2 * limit, LOOKED_AT_MAX // 4, LOOKED_AT_MAX):
        window = min(window, LOOKED_AT_MAX - looked_at)
        if window <= 0:
            break
        seen = await _run(
            conn, windowed(listing, within, filters, after, window, limit - len(rows))
        )
        for row in seen:
            if row[-3]:  # it fits
                rows.append(row[:-3])
                if len(rows) == limit:
                    return Found(rows, row[: len(listing.key)])
        # The last row of all comes even where it does not fit: it says how far we got.
        if not seen or seen[-1][-1] < window:
            return Found(rows, None)
        after = seen[-1][: len(listing.key)]
        looked_at += window
    return Found(rows, after)


def exact(listing: Listing, within: Range, after: Key | None, most: int) -> Term:
    """The next `most` rows of a range. Pure."""
    span = _range(listing, within, after, most)
    if not listing.beside:
        return span
    return Term(
        f"SELECT {_shown(listing)} FROM ({span.sql}) AS seen {listing.beside}"  # noqa: S608 - constants
        f" ORDER BY {_descending(listing, 'seen.')}",
        span.values,
    )


def windowed(
    listing: Listing,
    within: Range,
    filters: Sequence[Term],
    after: Key | None,
    window: int,
    wanted: int,
) -> Term:
    """Of the next `window` rows those that fit, at most `wanted`, and the last in any case. Pure.

    Behind the shown columns: whether it fits, its number from 1, how many there were.
    """
    span = _range(listing, within, after, window)
    fits = " AND ".join(f"({term.sql})" for term in filters)
    values = [value for term in filters for value in term.values]
    order = _descending(listing, "seen.")
    return Term(
        f"SELECT * FROM (SELECT {_shown(listing)}, coalesce({fits}, false) AS fits,"  # noqa: S608 - constants
        f" row_number() OVER (ORDER BY {order}) AS n, count(*) OVER () AS total"
        f" FROM ({span.sql}) AS seen {listing.beside}) AS looked_at"
        " WHERE fits OR n = total ORDER BY n LIMIT %s",
        (*values, *span.values, wanted + 1),
    )


def _range(listing: Listing, within: Range, after: Key | None, most: int) -> Term:
    terms = (*within.only, *_bounds(listing, within, after))
    where = " AND ".join(term.sql for term in terms) or "true"
    lead = f"{within.lead.column} DESC, " if within.lead is not None else ""
    return Term(
        f"SELECT {', '.join(listing.columns)} FROM {listing.source} WHERE {where}"  # noqa: S608 - constants
        f" ORDER BY {lead}{_descending(listing)} LIMIT %s",
        (*listing.source_values, *(value for term in terms for value in term.values), most),
    )


def _bounds(listing: Listing, within: Range, after: Key | None) -> list[Term]:
    """Both ends of the range as row comparisons: a scan of the index begins and ends there."""
    columns, types, high = listing.key, listing.types, within.high
    lead = () if within.lead is None else (within.lead,)
    terms = []
    if lead or within.low is not None:
        low = () if within.low is None else (within.low,)
        terms.append(_compared(lead, columns, types, ">=", low))
    if after is not None and (high is None or after[0] < high):
        terms.append(_compared(lead, columns, types, "<", after))
    elif high is not None:
        terms.append(_compared(lead, columns, types, "<", (high,)))
    elif lead:
        terms.append(_compared(lead, columns, types, "<=", ()))
    return terms


def _compared(
    lead: tuple[Lead, ...], columns: Sequence[str], types: Sequence[str], how: str, key: Key
) -> Term:
    """`(lead, key…) how (values…)` for as much of the key as is given."""
    names = [one.column for one in lead] + list(columns[: len(key)])
    kinds = [one.type for one in lead] + list(types[: len(key)])
    holes = ", ".join(f"%s::{kind}" for kind in kinds)
    values = (*(one.value for one in lead), *key)
    return Term(f"({', '.join(names)}) {how} ({holes})", values)


def _descending(listing: Listing, prefix: str = "") -> str:
    return ", ".join(f"{prefix}{name} DESC{listing.nulls}" for name in listing.key)


def _shown(listing: Listing) -> str:
    return ", ".join(listing.shown or tuple(f"seen.{name}" for name in listing.columns))


async def _run(conn: Connection, query: Term) -> list[Row]:
    """Planned for these very values: a plan made for another tenant, or for no value, may be the wrong one."""
    cursor = await conn.execute(query.sql.encode(), query.values, prepare=False)
    return await cursor.fetchall()
