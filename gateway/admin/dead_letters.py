"""Dead letters: signals of which a part was not done for a reason that passes, account by account.

What counts is said in fanout/dead_letters.py, and judged here from the plan and the orders as they
are now; nothing is kept but what was replayed. A signal is here when nothing of it is left to happen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from fanout import dead_letter_rows as rows
from fanout.dead_letter_rows import Letter
from fanout.dead_letters import PASSING, Attempt, DeadAccount, dead_of_orders, dead_of_plan
from fanout.order import OrdState
from fanout.reasons import SENTENCES, Reason
from gateway.admin.listing import Since, first_id
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_id, write_cursor
from gateway.admin.plans import read_plan
from tenancy.database import Connection
from tenancy.errors import NotFound
from tenancy.paper import is_shadow
from tenancy.values import plain

TAG = "Dead letters"
LISTED_MOST = 1000
_FOLLOWS = (
    "SELECT account_id FROM subscriptions WHERE strategy_id = %s ORDER BY priority, account_id"
)


class DeadLetterQuery(PageQuery, frozen=True, kw_only=True):
    """Which; `since`: received at this time or later."""

    strategy_id: UUID | None = None
    since: Since | None = None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One signal. `accounts`: of how many something was not done; `replayed`: how many of them were replayed.
    `reasons`: how many have which: an order's end (`unsent`, `rejected`, `absent`, `denied`), the plan's reason,
    or `refused` for a signal that no worker understood."""

    signal_id: UUID
    strategy_id: UUID
    ticker: str
    received_at: datetime
    status: str
    accounts: int
    replayed: int
    reasons: dict[str, int]


class DeadLegView(msgspec.Struct, frozen=True, kw_only=True):
    """The last attempt of a leg that was not done, and the words about its end."""

    cl_ord_id: str
    leg: int
    attempt: int
    broker: str
    symbol: str
    side: str
    order_qty: str
    status: OrdState
    text: str | None


class DeadAccountView(msgspec.Struct, frozen=True, kw_only=True):
    """One account. `why_not`: why it cannot be replayed now; empty: it can. `replay_id`: the signal that was sent
    in its place."""

    account_id: UUID
    reason: str
    text: str
    legs: list[DeadLegView]
    replay_id: UUID | None
    why_not: str


class DeadLetterView(DeadLetter, frozen=True, kw_only=True):
    """One signal with its accounts, at most 1,000 of them; `more`: how many are left out."""

    items: list[DeadAccountView]
    more: int


async def dead_accounts(conn: Connection, letter: Letter) -> list[DeadAccount]:
    """Every account of which something was not done, by the plan and the orders as they are now."""
    if letter.ours:
        return []
    if letter.state == "refused":
        found = await (await conn.execute(_FOLLOWS, (letter.strategy_id,))).fetchall()
        text = "no worker could read the signal"
        return [DeadAccount(account_id=row[0], reason="refused", text=text) for row in found]
    attempts = await rows.attempts(conn, letter.signal_id)
    with_orders = {one.account_id for one in attempts}
    plan = await read_plan(conn, letter.signal_id)
    left_out = {
        entry.account_id: (entry.reason, entry.words or _sentence(entry.reason))
        for entry in (plan.entries if plan is not None else ())
        if entry.account_id not in with_orders and not is_shadow(entry.broker)
    }
    return [*dead_of_orders(attempts), *dead_of_plan(left_out)]


def _sentence(reason: str) -> str:
    known = reason in Reason.__members__.values()
    return SENTENCES[Reason(reason)] if known else reason


async def read_letter(call: Call, *, lock: bool = False) -> Letter:
    """The signal in the address. Raises NotFound, also for another tenant's."""
    wanted = call.uuid("signal_id")
    letter = await rows.read(call.conn, wanted, lock=lock)
    if letter is None:
        raise NotFound(f"there is no signal {wanted} in this tenant")
    return letter


async def _list(call: Call) -> Result:
    query: DeadLetterQuery = call.query
    found = await rows.page(
        call.conn, strategy=query.strategy_id, low=first_id(query.since),
        before=read_id(query.cursor), limit=query.limit,
    )  # fmt: skip
    states, replayed = await rows.counted(call.conn, [row[0] for row in found])
    items = []
    for signal, strategy, ticker, at, state, planned in found:
        reasons = dict(states.get(signal, {}))
        reasons |= {name: n for name, n in planned.items() if name in PASSING}
        if state == "refused":
            reasons = {"refused": 1}
        if reasons:
            items.append(
                DeadLetter(
                    signal_id=signal, strategy_id=strategy, ticker=ticker, received_at=at, status=state,
                    accounts=sum(reasons.values()), replayed=replayed.get(signal, 0),
                    reasons=dict(sorted(reasons.items())),
                )
            )  # fmt: skip
    more = write_cursor(str(found[-1][0])) if len(found) == query.limit else None
    return Result(content=Page(items=items, next=more))


async def _get(call: Call) -> Result:
    letter = await read_letter(call)
    found = await dead_accounts(call.conn, letter)
    replays = await rows.replays(call.conn, letter.signal_id)
    items = [_view(dead, letter, replays) for dead in found[:LISTED_MOST]]
    return Result(
        content=DeadLetterView(
            signal_id=letter.signal_id, strategy_id=letter.strategy_id, ticker=letter.ticker,
            received_at=letter.received_at, status=letter.state, accounts=len(found),
            replayed=len(replays), reasons=dict(sorted(Counter(d.reason for d in found).items())),
            items=items, more=max(0, len(found) - LISTED_MOST),
        )
    )  # fmt: skip


def why_not(dead: DeadAccount, letter: Letter, replays: Mapping[UUID, UUID]) -> str:
    """Why this account cannot be replayed now; empty: it can. Pure."""
    if (replay := replays.get(dead.account_id)) is not None:
        return f"it was replayed as signal {replay}"
    if not letter.done:
        return "something of the signal is left to happen: wait for its outcome"
    return dead.why_not


def _view(dead: DeadAccount, letter: Letter, replays: Mapping[UUID, UUID]) -> DeadAccountView:
    return DeadAccountView(
        account_id=dead.account_id, reason=dead.reason, text=dead.text, legs=_legs(dead.legs),
        replay_id=replays.get(dead.account_id), why_not=why_not(dead, letter, replays),
    )  # fmt: skip


def _legs(legs: Sequence[Attempt]) -> list[DeadLegView]:
    return [
        DeadLegView(
            cl_ord_id=leg.cl_ord_id, leg=leg.leg, attempt=leg.attempt, broker=leg.broker,
            symbol=leg.symbol, side=leg.side, order_qty=plain(leg.order_qty), status=leg.state,
            text=leg.text,
        )
        for leg in legs
    ]  # fmt: skip


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_dead_letters", method="GET", path="/v1/dead-letters", tag=TAG, action="orders:read",
        summary="Signals of which something was not done for a reason that passes, newest first.",
        detail="A page may be shorter than asked for; go on while there is a `next`.",
        handle=_list, query=DeadLetterQuery, answer=Page[DeadLetter],
    ),
    Operation(
        name="get_dead_letter", method="GET", path="/v1/dead-letters/{signal_id}", tag=TAG,
        action="orders:read", handle=_get, answer=DeadLetterView, problems=("not_found",),
        summary="What of a signal was not done, account by account, and what can be replayed.",
    ),
)  # fmt: skip
