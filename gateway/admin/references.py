"""What refers to what: nothing begins on what is history, and nothing becomes history that is used.

Both sides take the lock of the row that is referred to, so that of an archiving and a new reference
at the same moment one sees the other. Accounts are locked before strategies, everywhere, because
a subscription moves its strategy's version.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from gateway.admin.changes import By
from tenancy.database import Connection
from tenancy.errors import Conflict, Invalid

Referred = Literal["strategy_id", "account_id", "group_id"]

_LOCKED: dict[Referred, str] = {
    # A subscription's own trigger updates its strategy: a shared lock would have to grow, and two
    # that grow at once are a deadlock.
    "strategy_id": "SELECT archived_at FROM strategies WHERE strategy_id = %s FOR NO KEY UPDATE",
    "account_id": "SELECT archived_at FROM accounts WHERE account_id = %s FOR SHARE",
    "group_id": "SELECT archived_at FROM account_groups WHERE group_id = %s FOR SHARE",
}

_OPEN = "state IN ('held', 'waiting', 'intent', 'new', 'partially_filled', 'in_doubt')"
_USERS: dict[Referred, tuple[tuple[str, str], ...]] = {
    "strategy_id": (
        ("subscription", "SELECT subscription_id::text FROM subscriptions WHERE strategy_id = %s"),
        ("hook", "SELECT hook_id FROM hooks WHERE strategy_id = %s AND archived_at IS NULL"),
        (
            "open order",
            f"SELECT cl_ord_id FROM orders WHERE strategy_id = %s AND {_OPEN}",  # noqa: S608
        ),
        (
            "open position",
            "SELECT account_id || ' ' || symbol FROM positions WHERE strategy_id = %s AND qty <> 0",
        ),
    ),
    "account_id": (
        ("subscription", "SELECT subscription_id::text FROM subscriptions WHERE account_id = %s"),
        (
            "open order",
            f"SELECT cl_ord_id FROM orders WHERE account_id = %s AND {_OPEN}",  # noqa: S608
        ),
        ("open position", "SELECT symbol FROM positions WHERE account_id = %s AND qty <> 0"),
    ),
    "group_id": (
        ("account", "SELECT name FROM accounts WHERE group_id = %s AND archived_at IS NULL"),
    ),
}
NAMED = 3
"""At most so many of each kind are named."""


async def require_live(by: By, field: Referred, object_id: UUID) -> None:
    """Raises Invalid where there is no such object in the tenant, or it is history."""
    row = await (await by.conn.execute(_LOCKED[field].encode(), (object_id,))).fetchone()
    if row is None:
        raise Invalid(f"{field}: there is no such object in this tenant", field=field)
    if row[0] is not None:
        raise Invalid(f"{field}: it is archived, nothing new can begin on it", field=field)


async def require_unused(conn: Connection, field: Referred, object_id: str, noun: str) -> None:
    """Raises Conflict, naming what uses the object. Its row is locked by the change that asks."""
    users = []
    for what, query in _USERS[field]:
        cursor = await conn.execute(f"{query} LIMIT {NAMED + 1}".encode(), (object_id,))
        names = [row[0] for row in await cursor.fetchall()]
        if names:
            more = ", …" if len(names) > NAMED else ""
            users.append(f"{what} {', '.join(names[:NAMED])}{more}")
    if users:
        raise Conflict(f"this {noun} is used by {'; '.join(users)}: end that first")
