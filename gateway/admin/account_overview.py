"""Accounts with all that somebody wants to see of many at once: state, equity, exposure, drift, credential.

One page is four questions, however many accounts the tenant has: the page's rows by name, their books, the
prices that workers last saw, and the platform's word. What depends on a price is null where none is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from fanout.exposure import Book, reach, worth
from fanout.trading_day import day_of
from fanout.usage import MINUTE, Lots, Needs, read_books
from gateway.admin.accounts import Word
from gateway.admin.credential_views import STATE_SQL, CredentialState
from gateway.admin.listing import read_key, write_key
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery
from gateway.admin.usage import leverage_of
from tenancy.account import Account
from tenancy.paper import LIVE_SQL
from tenancy.parameters import TradingState
from tenancy.store.snapshots import read_accounts
from tenancy.tenant import TenantSettings
from tenancy.values import PRINTABLE, AccountID, plain, whole

Key = tuple[Annotated[str, Meta(max_length=200)], UUID]
"""Name and id."""
Reconciled = Literal["agreed", "differs", "unknown"]


class OverviewQuery(PageQuery, frozen=True, kw_only=True):
    """Which accounts, by name. `name`: a part of it, whatever its case. `drifts`: with open ones, or without."""

    name: (
        Annotated[str, Meta(min_length=1, max_length=100, pattern=whole(PRINTABLE + "+"))] | None
    ) = None
    broker: Word | None = None
    group_id: UUID | None = None
    state: TradingState | None = None
    credential: CredentialState | None = None
    drifts: bool | None = None


class AccountOverview(msgspec.Struct, frozen=True, kw_only=True):
    """One account now. Money in `currency`; `worth` is of all positions, each at its larger side, and `leverage`
    that against `equity`: what the broker said at `equity_as_of`, else what was stated. `credential_since`: when
    the live one was sealed."""

    account_id: UUID
    name: str
    broker: str
    currency: str
    live: bool
    shadow_of: UUID | None
    group_id: UUID | None
    group: str | None
    state: TradingState
    group_state: TradingState | None
    equity: str | None
    equity_as_of: datetime | None
    positions: int
    worth: str | None
    leverage: str | None
    open_drifts: int
    reconciled: Reconciled | None
    reconciled_at: datetime | None
    credential: CredentialState
    credential_since: datetime | None


_PAGE = f"""
WITH page AS MATERIALIZED (
    SELECT account_id, name, broker, currency, {LIVE_SQL} AS live, shadow_of, group_id, state, stated_equity,
           {STATE_SQL} AS credential
    FROM accounts
    WHERE archived_at IS NULL
      AND (%(after)s::text IS NULL OR (name, account_id) > (%(after)s, %(last)s::uuid))
      AND (%(name)s::text IS NULL OR position(lower(%(name)s) IN lower(name)) > 0)
      AND (%(broker)s::text IS NULL OR broker = %(broker)s)
      AND (%(group)s::uuid IS NULL OR group_id = %(group)s)
      AND (%(state)s::text IS NULL OR state = %(state)s)
      AND (%(credential)s::text IS NULL OR {STATE_SQL} = %(credential)s)
      AND (%(drifts)s::boolean IS NULL OR %(drifts)s =
           EXISTS (SELECT FROM drifts d WHERE d.account_id = accounts.account_id AND d.state = 'open'))
    ORDER BY name, account_id LIMIT %(limit)s)
SELECT p.account_id, p.name, p.broker, p.currency, p.live, p.shadow_of, p.group_id, g.name, p.state, g.state,
       coalesce(b.equity, p.stated_equity), b.as_of,
       (SELECT count(*) FROM positions h WHERE h.account_id = p.account_id AND h.qty <> 0),
       (SELECT count(*) FROM drifts d WHERE d.account_id = p.account_id AND d.state = 'open'),
       r.state, r.at, p.credential, c.sealed_at
FROM page p LEFT JOIN account_groups g USING (group_id)
LEFT JOIN balances b ON b.account_id = p.account_id AND b.currency = p.currency
LEFT JOIN reconciliations r ON r.account_id = p.account_id
LEFT JOIN credentials c ON c.account_id = p.account_id AND c.revoked_at IS NULL AND c.state = 'live'
ORDER BY p.name, p.account_id"""  # noqa: S608 - constants only
_TENANT = "SELECT settings::text FROM tenants WHERE tenant_id = %s"


async def _list(call: Call) -> Result:
    query: OverviewQuery = call.query
    after = read_key(query.cursor, Key) or (None, None)
    asked = {
        "after": after[0], "last": after[1], "name": query.name, "broker": query.broker,
        "group": query.group_id, "state": query.state, "credential": query.credential,
        "drifts": query.drifts, "limit": query.limit + 1,
    }  # fmt: skip
    rows = await (await call.conn.execute(_PAGE.encode(), asked)).fetchall()
    page = rows[: query.limit]
    worths = await _worths(call, [AccountID(row[0]) for row in page])
    more = (page[-1][1], page[-1][0]) if len(rows) > query.limit else None
    return Result(content=Page(items=[_view(row, worths) for row in page], next=write_key(more)))


async def _worths(call: Call, ids: Sequence[AccountID]) -> Mapping[UUID, Decimal | None]:
    """What each account's positions are worth, in its currency; None where a price or a rate is not known."""
    accounts = await read_accounts(call.conn, ids)
    if not accounts:
        return {}
    row = await (await call.conn.execute(_TENANT, (call.scope.tenant_id,))).fetchone()
    assert row is not None
    settings = msgspec.json.decode(row[0], type=TenantSettings)
    now = call.services.clock.now()
    wanted: list[tuple[Account, Needs, None]] = [
        (one, Needs(lots=True, money=True), None) for one in accounts
    ]
    books, _ = await read_books(
        call.conn, wanted, day=day_of(settings.trading_day, now), since=now - MINUTE
    )
    lots = Lots((await call.services.pictures.read(call.conn)).by_broker(), settings.fx_rates)
    found: dict[UUID, Decimal | None] = {}
    for one in accounts:
        book = books.get(one.account_id, Book())
        found[one.account_id] = worth(reach(book.held, book.pending), lots.of(one))
    return found


def _view(row: Sequence[Any], worths: Mapping[UUID, Decimal | None]) -> AccountOverview:
    equity, whole_worth = row[10], worths.get(row[0])
    return AccountOverview(
        account_id=row[0], name=row[1], broker=row[2], currency=row[3], live=row[4], shadow_of=row[5],
        group_id=row[6], group=row[7], state=row[8], group_state=row[9], equity=_text(equity),
        equity_as_of=row[11], positions=row[12], worth=_text(whole_worth),
        leverage=_text(leverage_of(whole_worth, equity)), open_drifts=row[13], reconciled=row[14],
        reconciled_at=row[15], credential=row[16], credential_since=row[17],
    )  # fmt: skip


def _text(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


OPERATIONS = (
    Operation(
        name="list_account_overview", method="GET", path="/v1/accounts/overview", tag="Accounts",
        action="positions:read", handle=_list, query=OverviewQuery, answer=Page[AccountOverview],
        summary="List accounts by name, each with equity, exposure, drift and its credential's state.",
    ),
)  # fmt: skip
