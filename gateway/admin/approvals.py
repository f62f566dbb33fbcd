"""Signals by approval: what waits for a person's yes, and the yes or no itself, for one account or all.

The decision is fanout/approvals.py's, in this request's transaction: what it comes to is committed
and said, whatever it is. `approved` alone means that something will be sent; `expired` and `void`
are a yes that came to nothing, and `why` and `text` say for which reason. Workers find what was
approved with their sweep, within a second.

A service key answers nothing. Of several answers at once the first counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from fanout import approvals
from fanout.approvals import AlreadyDecided, Decision, State
from fanout.consent import Void, sentence
from fanout.plan import Leg, PlanEntry
from fanout.reasons import Reason
from gateway.admin.deciding import deciding_person
from gateway.admin.errors import Malformed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_cursor, write_cursor
from tenancy.errors import NotFound
from tenancy.values import AccountID, SignalID

TAG = "Approvals"
Comment = Annotated[str, Meta(max_length=1000, description="For the record.")]
Verb = Literal["approve", "reject"]

_LIST = """
WITH page AS MATERIALIZED (
    SELECT *, (state = 'pending')::int AS waits FROM signal_approvals
    WHERE (%(state)s::text IS NULL OR state = %(state)s)
      AND (%(signal)s::uuid IS NULL OR signal_id = %(signal)s)
      AND (%(account)s::uuid IS NULL OR account_id = %(account)s)
      AND (%(strategy)s::uuid IS NULL OR strategy_id = %(strategy)s)
      AND (%(waits)s::int IS NULL
           OR ((state = 'pending')::int, signal_id, account_id) < (%(waits)s, %(last)s::uuid, %(at)s::uuid))
    ORDER BY (state = 'pending')::int DESC, signal_id DESC, account_id DESC LIMIT %(limit)s)
SELECT p.signal_id, p.account_id, p.strategy_id, p.subscription_id, p.state, p.entry::text, p.asked_at,
       p.expires_at, p.decided_at, p.decided_by::text, p.comment, p.why, p.carried_at, p.waits,
       coalesce(a.name, ''), coalesce(t.name, ''), s.ticker
FROM page p LEFT JOIN accounts a USING (account_id) LEFT JOIN strategies t ON t.strategy_id = p.strategy_id
LEFT JOIN signals s ON s.signal_id = p.signal_id
ORDER BY p.waits DESC, p.signal_id DESC, p.account_id DESC"""
_OF_SIGNAL = """
SELECT account_id, state = 'pending' FROM signal_approvals WHERE signal_id = %s ORDER BY account_id"""


class ApprovalFilters(PageQuery, frozen=True, kw_only=True):
    """Which questions."""

    state: State | None = None
    signal_id: UUID | None = None
    account_id: UUID | None = None
    strategy_id: UUID | None = None


class ApprovalView(msgspec.Struct, frozen=True, kw_only=True):
    """One account's part of one signal; `account`, `strategy`: their names. `legs`: the orders that a yes
    sends, to the letter. `position`: what they count on. `words`: how the quantity came about. `why`,
    `text`: of `void`. `carried_at`: when the orders were written."""

    signal_id: UUID
    ticker: str | None
    account_id: UUID
    account: str
    strategy_id: UUID
    strategy: str
    subscription_id: UUID
    state: State
    symbol: str | None
    legs: tuple[Leg, ...]
    position: Decimal
    words: str
    asked_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: dict[str, str] | None
    comment: str
    why: str | None
    text: str
    carried_at: datetime | None


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A yes or a no."""

    comment: Comment = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer came to: only `approved` sends anything."""

    account_id: UUID
    state: State
    why: str | None
    text: str


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """Of every question of the signal that was pending."""

    items: list[Outcome]


async def _list(call: Call) -> Result:
    query: ApprovalFilters = call.query
    waits, last, at = _place(query.cursor)
    values = {"state": query.state, "signal": query.signal_id, "account": query.account_id,
              "strategy": query.strategy_id, "waits": waits, "last": last, "at": at,
              "limit": query.limit}  # fmt: skip
    rows = await (await call.conn.execute(_LIST, values)).fetchall()
    more = None
    if len(rows) == query.limit:
        more = write_cursor(f"{rows[-1][13]}:{rows[-1][0]}:{rows[-1][1]}")
    return Result(content=Page(items=[_view(row) for row in rows], next=more))


def _place(cursor: str | None) -> tuple[int | None, UUID | None, UUID | None]:
    """Where the page before ended."""
    text = read_cursor(cursor)
    if text is None:
        return None, None, None
    try:
        waits, signal, account = text.split(":")
        return int(waits), UUID(signal), UUID(account)
    except ValueError:
        raise Malformed(
            "cursor: take it from `next` of the page before, unchanged", field="cursor"
        ) from None


_entry = msgspec.json.Decoder(PlanEntry).decode


def _view(row: Sequence[Any]) -> ApprovalView:
    entry = _entry(row[5])
    return ApprovalView(
        signal_id=row[0], ticker=row[16], account_id=row[1], account=row[14], strategy_id=row[2],
        strategy=row[15], subscription_id=row[3], state=row[4], symbol=entry.symbol,
        legs=entry.legs, position=entry.position, words=entry.words, asked_at=row[6],
        expires_at=row[7], decided_at=row[8],
        decided_by=msgspec.json.decode(row[9]) if row[9] else None, comment=row[10], why=row[11],
        text=_text(row[11]), carried_at=row[12],
    )  # fmt: skip


def _text(why: str | None) -> str:
    if why is None:
        return ""
    return sentence(Void(why) if why in Void.__members__.values() else Reason(why))


async def _answer(call: Call, verb: Verb, signal: UUID, account: UUID) -> Outcome:
    decide = approvals.approve if verb == "approve" else approvals.reject
    made: Decision = await decide(
        call.conn, call.scope, SignalID(signal), AccountID(account), call.services.clock.now(),
        call.body.comment,
    )  # fmt: skip
    why = made.why.value if made.why is not None else None
    return Outcome(account_id=account, state=made.state, why=why, text=made.text)


def _one(verb: Verb) -> Callable[[Call], Awaitable[Result]]:
    async def handle(call: Call) -> Result:
        deciding_person(call.principal)
        signal, account = call.uuid("signal_id"), call.uuid("account_id")
        return Result(content=await _answer(call, verb, signal, account))

    return handle


def _all(verb: Verb) -> Callable[[Call], Awaitable[Result]]:
    async def handle(call: Call) -> Result:
        deciding_person(call.principal)
        signal = call.uuid("signal_id")
        rows = await (await call.conn.execute(_OF_SIGNAL, (signal,))).fetchall()
        if not rows:
            raise NotFound(f"nobody was asked about signal {signal}")
        items = []
        for account, pending in rows:
            try:
                items += [await _answer(call, verb, signal, account)] if pending else []
            except AlreadyDecided:
                continue  # somebody was faster for this account
        return Result(content=Outcomes(items=items))

    return handle


_PROBLEMS = ("not_found", "already_decided", "person_needed")


def _operations(verb: Verb, word: str) -> tuple[Operation, ...]:
    return (
        Operation(
            name=f"{verb}_order_of_signal", method="POST", tag=TAG, action="signals:decide",
            path=f"/v1/approvals/{{signal_id}}/{{account_id}}/{verb}", handle=_one(verb),
            body=Answer, answer=Outcome, problems=_PROBLEMS,
            summary=f"Say {word} to what a signal would send for one account.",
        ),
        Operation(
            name=f"{verb}_signal", method="POST", tag=TAG, action="signals:decide",
            path=f"/v1/signals/{{signal_id}}/{verb}", handle=_all(verb), body=Answer,
            answer=Outcomes, problems=("not_found", "person_needed"),
            summary=f"Say {word} to everything of a signal that still waits.",
        ),
    )  # fmt: skip


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_approvals", method="GET", path="/v1/approvals", tag=TAG, action="signals:read",
        summary="What signals would send once a person agrees; what waits comes first.",
        handle=_list, query=ApprovalFilters, answer=Page[ApprovalView],
    ),
    *_operations("approve", "yes"),
    *_operations("reject", "no"),
)  # fmt: skip
