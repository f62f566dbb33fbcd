"""Which orders a report is about: a period of signals, bounded in days and in orders.

A signal's id is a UUIDv7, so a period is a range of ids, and its orders are found by the index that the pages
use (migration 0008). Before anything is counted it is looked whether there are too many.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from gateway.admin.errors import Malformed
from gateway.admin.listing import Since, Until, first_id
from tenancy.database import Connection

DAYS_MOST = 366
DAYS_UNSAID = 30
ORDERS_MOST = 200_000
TIMEOUT_MS = 20_000

REAL_ACCOUNTS = "NOT starts_with(o.broker, 'shadow-')"
"""Whose orders count, as a condition on `o`, a row of `orders`: a twin on paper is nobody's client."""


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """Signals that were received in [since, until)."""

    since: datetime
    until: datetime


def period(since: Since | None, until: Until | None, now: datetime) -> Period:
    """The last DAYS_UNSAID days where nothing is said. Raises Malformed where it is empty or too long."""
    until = until or now
    since = since or until - timedelta(days=DAYS_UNSAID)
    if since >= until:
        raise Malformed("since is not before until: there is no such period", field="since")
    if until - since > timedelta(days=DAYS_MOST):
        raise Malformed(f"a report is of {DAYS_MOST} days at most; ask for less", field="since")
    return Period(since=since, until=until)


class Orders(msgspec.Struct, frozen=True):
    """Rows of `orders` as `o`: what follows FROM, and its values by name."""

    sql: str
    values: dict[str, Any]


def orders_of(within: Period, *, strategy_id: UUID | None, account_id: UUID | None) -> Orders:
    """Entries' orders of that period. Pure."""
    values: dict[str, Any] = {"low": first_id(within.since), "high": first_id(within.until)}
    if strategy_id is not None:
        values["strategy"] = strategy_id
        source = "signals s JOIN orders o USING (signal_id)"
        terms = [
            "s.strategy_id = %(strategy)s",
            "s.signal_id >= %(low)s::uuid",
            "s.signal_id < %(high)s::uuid",
        ]
    else:
        source = "orders o"
        terms = ["o.signal_id >= %(low)s::uuid", "o.signal_id < %(high)s::uuid"]
    if account_id is not None:
        values["account"] = account_id
        terms.append("o.account_id = %(account)s")
    terms += ["o.role = 'main'", REAL_ACCOUNTS]
    return Orders(f"{source} WHERE {' AND '.join(terms)}", values)


async def bounded(conn: Connection, orders: Orders, most: int = ORDERS_MOST) -> int:
    """How many there are; the transaction's statements are bounded in time from here on.

    Raises Malformed where there are more than `most`.
    """
    await conn.execute(f"SET LOCAL statement_timeout = {TIMEOUT_MS}".encode())
    query = f"SELECT count(*) FROM (SELECT 1 FROM {orders.sql} LIMIT {most + 1}) AS counted"  # noqa: S608
    row = await (await conn.execute(query.encode(), orders.values, prepare=False)).fetchone()
    assert row is not None
    if row[0] > most:
        raise Malformed(
            f"there are more than {most:,} orders in this period; ask for a shorter one,"
            " a strategy or an account",
            field="since",
        )
    return int(row[0])
