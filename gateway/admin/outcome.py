"""What became of a signal: one object, and pages of its accounts in fan-out order.

Of the accounts a page shows those that fit a filter, out of at most LOOKED_AT_MAX that it looks at:
with ten thousand accounts it may be shorter than asked for, and says where to go on.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from fanout.outcome import AccountOutcome, AccountState, Outcome
from fanout.outcome_accounts import read_accounts
from fanout.outcome_rows import read
from gateway.admin.listing import Word, read_key, write_key
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.orders import AttemptView, orders_of_accounts
from gateway.admin.paging import Page, PageQuery
from gateway.admin.plans import PlannedAccount, WrittenEntry, entries_of, read_plan
from tenancy.database import Connection
from tenancy.errors import NotFound

LOOKED_AT_MAX = 1000
Place = tuple[Annotated[int, Meta(ge=0)]]

_NAMES = "SELECT account_id, name FROM accounts WHERE account_id = ANY(%b)"
_PLANNED_AT = "SELECT planned_at FROM plans WHERE signal_id = %b"


class AccountQuery(PageQuery, frozen=True, kw_only=True):
    """Which accounts of the plan."""

    state: AccountState | None = None
    reason: Word | None = None
    account_id: UUID | None = None


class AccountOfSignal(AccountOutcome, frozen=True, kw_only=True):
    """What became of a signal at one account: its entry as planned, and its orders with all attempts."""

    account_id: UUID
    account: str
    """The account's name today."""
    reason: str
    planned: PlannedAccount
    orders: list[AttemptView]


async def outcome_of(conn: Connection, signal_id: UUID) -> Outcome:
    """As it stands now. Raises NotFound, also for another tenant's."""
    outcome = await read(conn, signal_id)
    if outcome is not None and outcome.planned_at is not None and not outcome.reasons:
        plan = await read_plan(conn, signal_id)  # it was planned before outcomes were kept
        reasons = Counter(entry.reason for entry in plan.entries) if plan is not None else {}
        outcome = await read(conn, signal_id, reasons)
    if outcome is None:
        raise NotFound(f"there is no signal {signal_id} in this tenant")
    return outcome


async def accounts_of(
    conn: Connection, signal_id: UUID, query: AccountQuery, after: int | None
) -> tuple[list[AccountOfSignal], int | None]:
    """The accounts of the plan from behind place `after`, and the place after which to go on.

    None before the plan is made. Raises NotFound where there is no such signal.
    """
    plan = await read_plan(conn, signal_id)
    if plan is None:
        await outcome_of(conn, signal_id)
        return [], None
    row = await (await conn.execute(_PLANNED_AT, (signal_id,))).fetchone()
    assert row is not None
    place = -1 if after is None else after
    if query.reason is None and query.account_id is None:
        entries = plan.behind(place, 1 + (query.limit if query.state is None else LOOKED_AT_MAX))
    else:
        entries = [entry for entry in plan.behind(place) if _fits(entry, query)]
    looked_at = entries[: query.limit if query.state is None else LOOKED_AT_MAX]
    now = await read_accounts(conn, signal_id, {e.account_id: e.reason for e in looked_at}, row[0])
    fitting = [e for e in looked_at if query.state in (None, now[e.account_id].state)]
    shown = fitting[: query.limit]
    if len(fitting) > len(shown):
        following: int | None = shown[-1].place
    else:
        following = looked_at[-1].place if len(entries) > len(looked_at) else None
    return await _shown(conn, signal_id, shown, now), following


def _fits(entry: WrittenEntry, query: AccountQuery) -> bool:
    return query.reason in (None, entry.reason) and query.account_id in (None, entry.account_id)


async def _shown(
    conn: Connection,
    signal_id: UUID,
    entries: list[WrittenEntry],
    now: dict[UUID, AccountOutcome],
) -> list[AccountOfSignal]:
    accounts = [entry.account_id for entry in entries]
    orders = await orders_of_accounts(conn, signal_id, accounts)
    names: dict[UUID, str] = dict(await (await conn.execute(_NAMES, (accounts,))).fetchall())
    return [
        AccountOfSignal(
            **msgspec.structs.asdict(now[entry.account_id]),
            account_id=entry.account_id,
            account=names.get(entry.account_id, ""),
            reason=entry.reason,
            planned=planned,
            orders=orders.get(entry.account_id, []),
        )
        for entry, planned in zip(entries, entries_of(entries), strict=True)
    ]


async def _outcome(call: Call) -> Result:
    return Result(content=await outcome_of(call.conn, call.uuid("signal_id")))


async def _accounts(call: Call) -> Result:
    query: AccountQuery = call.query
    place = read_key(query.cursor, Place)
    items, following = await accounts_of(
        call.conn, call.uuid("signal_id"), query, None if place is None else place[0]
    )
    return Result(
        content=Page(items=items, next=write_key(None if following is None else (following,)))
    )


OPERATIONS = (
    Operation(
        name="get_outcome", method="GET", path="/v1/signals/{signal_id}/outcome", tag="Signals",
        action="orders:read",
        summary="Read what became of a signal: how far it is, counts, totals, latency and slippage.",
        handle=_outcome, answer=Outcome, problems=("not_found",),
    ),
    Operation(
        name="list_outcome_accounts", method="GET",
        path="/v1/signals/{signal_id}/outcome/accounts", tag="Signals", action="orders:read",
        summary="List what became of a signal at each account of its plan, in fan-out order.",
        handle=_accounts, query=AccountQuery, answer=Page[AccountOfSignal],
        problems=("not_found",),
    ),
)  # fmt: skip
