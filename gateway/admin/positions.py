"""Positions as folded from fills, per account, strategy and symbol; and each account's last known balance."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from gateway.admin.listing import Word, read_key, write_key
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.orders import shown
from gateway.admin.pages import Listing, Range, Term, find
from gateway.admin.paging import Page, PageQuery

PositionKey = tuple[UUID, UUID, str]
"""Account, strategy, symbol."""
BalanceKey = tuple[UUID]


class PositionQuery(PageQuery, frozen=True, kw_only=True):
    """Which positions; those that are closed (quantity 0) only if asked for."""

    account_id: UUID | None = None
    strategy_id: UUID | None = None
    symbol: Word | None = None
    flat: bool = False


class PositionView(msgspec.Struct, frozen=True, kw_only=True):
    """`qty` in whole lots, negative where it is short."""

    account_id: UUID
    strategy_id: UUID
    symbol: str
    qty: str
    avg_px: str | None
    updated_at: datetime


class BalanceQuery(PageQuery, frozen=True, kw_only=True):
    """Whose balance."""

    account_id: UUID | None = None


class BalanceView(msgspec.Struct, frozen=True, kw_only=True):
    """What the broker said the account was worth at `as_of`; `equity` includes `unrealised` profit."""

    account_id: UUID
    equity: str
    unrealised: str
    available: str
    currency: str
    as_of: datetime


POSITIONS = Listing(
    source="positions",
    key=("account_id", "strategy_id", "symbol"),
    types=("uuid", "uuid", "text"),
    columns=PositionView.__struct_fields__,
    nulls=" NULLS LAST",
)
BALANCES = Listing(
    source="balances",
    key=("account_id",),
    types=("uuid",),
    columns=BalanceView.__struct_fields__,
    nulls=" NULLS LAST",
)


def question(query: PositionQuery) -> tuple[Range, list[Term]]:
    """Where to look, and what to look at there. Pure."""
    filters = [] if query.flat else [Term("seen.qty <> 0")]
    asked: dict[str, Any] = {"strategy_id": query.strategy_id, "symbol": query.symbol}
    filters += [Term(f"seen.{n} = %s", (value,)) for n, value in asked.items() if value is not None]
    return _account(query.account_id), filters


def _account(account_id: UUID | None) -> Range:
    if account_id is None:
        return Range()
    return Range(low=account_id, high=UUID(int=min(account_id.int + 1, 2**128 - 1)))


async def _positions(call: Call) -> Result:
    query: PositionQuery = call.query
    within, filters = question(query)
    after = read_key(query.cursor, PositionKey)
    found = await find(
        call.conn, POSITIONS, within=within, filters=filters, after=after, limit=query.limit
    )
    items = [
        PositionView(**shown(dict(zip(POSITIONS.columns, row, strict=True)))) for row in found.rows
    ]
    return Result(content=Page(items=items, next=write_key(found.after)))


async def _balances(call: Call) -> Result:
    query: BalanceQuery = call.query
    after = read_key(query.cursor, BalanceKey)
    found = await find(
        call.conn, BALANCES, within=_account(query.account_id), filters=[], after=after,
        limit=query.limit,
    )  # fmt: skip
    items = [
        BalanceView(**shown(dict(zip(BALANCES.columns, row, strict=True)))) for row in found.rows
    ]
    return Result(content=Page(items=items, next=write_key(found.after)))


OPERATIONS = (
    Operation(
        name="list_positions", method="GET", path="/v1/positions", tag="Positions",
        action="positions:read", summary="List positions, by account, strategy and symbol.",
        handle=_positions, query=PositionQuery, answer=Page[PositionView],
    ),
    Operation(
        name="list_balances", method="GET", path="/v1/balances", tag="Positions",
        action="positions:read", summary="List the last known balance of each account.",
        handle=_balances, query=BalanceQuery, answer=Page[BalanceView],
    ),
)  # fmt: skip
