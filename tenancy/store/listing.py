"""SQL of the plain lists that operators look at; never a secret's column among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tenancy.database import Connection


class Listing(msgspec.Struct, frozen=True):
    """A table's columns to show, and their order."""

    table: str
    columns: tuple[str, ...]


LISTS = {
    "strategies": Listing(
        "strategies", ("strategy_id", "name", "asset_class", "state", "sequence", "version")
    ),
    "hooks": Listing("hooks", ("hook_id", "strategy_id", "sender", "enabled", "created_at")),
    "accounts": Listing(
        "accounts",
        ("account_id", "name", "broker", "currency", "stated_equity", "leverage", "state"),
    ),
    "subscriptions": Listing(
        "subscriptions",
        ("subscription_id", "strategy_id", "account_id", "enabled", "priority", "settings"),
    ),
}


async def list_rows(conn: Connection, what: str) -> list[Sequence[Any]]:
    """Every row of the transaction's tenant, oldest first. `what`: a name of LISTS."""
    listing = LISTS[what]
    query = f"SELECT {', '.join(listing.columns)} FROM {listing.table} ORDER BY created_at"  # noqa: S608
    return list(await (await conn.execute(query)).fetchall())
