"""Questions to people and their answers in PostgreSQL: one tenant a transaction, which the caller opens.

- `ask`         with the plan (fanout/plan_rows.py): a pending row and `approval.asked` for each account.
- `approve`     a person's yes: the row, `approval.given`, and the part put back into `plan_parts`.
                *Crash before: still pending. After: whoever owns the part carries it out.*
- `reject`, `expire_due`   the row and its record; nothing follows.
- `candidates`, `carry`    the worker's half (fanout/intend_approved.py): what was approved and is not
                carried out yet, looked at once more; `carried_at` commits with the intents.

Whatever is not as it was when the question was put makes a yes void (fanout/consent.py). Planning,
answering and carrying out take turns on a strategy (fanout/turn.py): none decides on a book that
another is about to change. A row is answered once: it is locked and looked at first, and a
trigger stands behind that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from audit.inbox import append
from audit.record import Kind
from fanout import evidence
from fanout.consent import Void, sentence, void
from fanout.market import AccountNow
from fanout.market_store import read_books
from fanout.plan import Plan, PlanEntry
from fanout.reasons import Reason
from fanout.turn import turn
from fanout.windows import Windows
from tenancy.database import Connection
from tenancy.errors import Conflict, NotFound
from tenancy.scope import Actor, TenantScope
from tenancy.snapshot import Snapshot, Subscribed
from tenancy.store.snapshots import read_snapshot
from tenancy.values import AccountID, SignalID, StrategyID

State = Literal["pending", "approved", "rejected", "expired", "void"]

_ASK = """
INSERT INTO signal_approvals (signal_id, account_id, tenant_id, strategy_id, subscription_id, part,
                              entry, open_for, traceparent, asked_at, expires_at)
SELECT %b, a.account_id, %b, %b, a.subscription_id, a.part, a.entry::json, %b, %b, %b, a.expires_at
FROM unnest(%b::uuid[], %b::uuid[], %b::smallint[], %b::text[], %b::timestamptz[])
     AS a (account_id, subscription_id, part, entry, expires_at)"""
_COLUMNS = """
signal_id, account_id, strategy_id, part, state, entry::text, open_for, traceparent, expires_at,
decided_at"""
_ONE = f"SELECT {_COLUMNS} FROM signal_approvals WHERE signal_id = %s AND account_id = %s"  # noqa: S608
_DECIDE = """
UPDATE signal_approvals SET state = %s, decided_at = %s, decided_by = %s::jsonb, comment = %s, why = %s
WHERE signal_id = %s AND account_id = %s"""
_PUT_BACK = """
INSERT INTO plan_parts (signal_id, part, tenant_id, strategy_id, planned_at, approved)
VALUES (%s, %s, %s, %s, %s, true) ON CONFLICT DO NOTHING"""
_EXPIRE = f"""
UPDATE signal_approvals SET state = 'expired', decided_at = %s
WHERE (signal_id, account_id) IN
      (SELECT signal_id, account_id FROM signal_approvals
       WHERE state = 'pending' AND expires_at <= %s AND part = ANY(%b::smallint[])
       FOR UPDATE SKIP LOCKED) RETURNING {_COLUMNS}"""  # noqa: S608 - constants only
_CANDIDATES = f"""
SELECT {_COLUMNS} FROM signal_approvals
WHERE signal_id = %b AND part = ANY(%b::smallint[]) AND state = 'approved' AND carried_at IS NULL
ORDER BY (entry ->> 'place')::int LIMIT %b"""  # noqa: S608 - constants only
_LOCK = """
SELECT account_id FROM signal_approvals
WHERE signal_id = %b AND account_id = ANY(%b::uuid[]) AND state = 'approved' AND carried_at IS NULL
ORDER BY account_id FOR UPDATE"""
_CARRIED = """
UPDATE signal_approvals SET carried_at = %b WHERE signal_id = %b AND account_id = ANY(%b::uuid[])"""
_VOID = """
UPDATE signal_approvals SET state = 'void', why = %b WHERE signal_id = %b AND account_id = %b"""


class AlreadyDecided(Conflict):
    """The question has its answer: says which."""

    code = "already_decided"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a question came to. `why` and `text` are set where a yes was void."""

    state: State
    why: Reason | Void | None = None
    text: str = ""


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A row."""

    signal_id: SignalID
    account_id: AccountID
    strategy_id: StrategyID
    part: int
    state: State
    entry: PlanEntry
    open_for: timedelta
    traceparent: str
    expires_at: datetime
    decided_at: datetime | None

    @property
    def deadline(self) -> datetime:
        """No attempt to open a position begins later: it counts from the yes."""
        assert self.decided_at is not None
        return self.decided_at + self.open_for


async def ask(conn: Connection, scope: TenantScope, plan: Plan, traceparent: str) -> None:
    """Put the plan's questions, in the plan's own transaction."""
    waiting = plan.with_reasons({Reason.AWAITS_APPROVAL})
    entries = [(entry, entry.asked) for entry in waiting if entry.asked is not None]
    if not entries:
        return
    await conn.execute(
        _ASK,
        (
            plan.signal_id, plan.tenant_id, plan.strategy_id, plan.deadline - plan.planned_at,
            traceparent, plan.planned_at,
            [entry.account_id for entry, _ in entries],
            [asked.subscription_id for _, asked in entries],
            [entry.part for entry, _ in entries],
            [msgspec.json.encode(entry).decode() for entry, _ in entries],
            [asked.expires_at for _, asked in entries],
        ),
    )  # fmt: skip
    await append(
        conn,
        [
            (
                scope.tenant_id,
                evidence.approval(
                    Kind.APPROVAL_ASKED, plan.signal_id, entry, plan.planned_at, traceparent,
                    {"expires_at": asked.expires_at.isoformat()},
                ),
            )
            for entry, asked in entries
        ],
    )  # fmt: skip


async def approve(
    conn: Connection,
    scope: TenantScope,
    signal: SignalID,
    account: AccountID,
    now: datetime,
    comment: str = "",
) -> Decision:
    """A person's yes. Commit whatever comes back: `approved`, or `expired` or `void`, which mean no.

    Raises NotFound, AlreadyDecided.
    """
    approval = await _pending(conn, signal, account)
    if now >= approval.expires_at:
        return await _decide(conn, scope, approval, "expired", now, comment)
    snapshot = await read_snapshot(conn, approval.strategy_id, [account])
    books = await read_books(conn, approval.strategy_id, [account])
    why = _void(approval, snapshot, books, now, None)
    if why is not None:
        return await _decide(conn, scope, approval, "void", now, comment, why)
    await conn.execute(
        _PUT_BACK, (signal, approval.part, scope.tenant_id, approval.strategy_id, now)
    )
    return await _decide(conn, scope, approval, "approved", now, comment)


async def reject(
    conn: Connection,
    scope: TenantScope,
    signal: SignalID,
    account: AccountID,
    now: datetime,
    comment: str = "",
) -> Decision:
    """A person's no (or `expired`, which means no as well). Raises NotFound, AlreadyDecided."""
    approval = await _pending(conn, signal, account)
    state: State = "expired" if now >= approval.expires_at else "rejected"
    return await _decide(conn, scope, approval, state, now, comment)


async def expire_due(
    conn: Connection, scope: TenantScope, now: datetime, parts: Sequence[int]
) -> int:
    """End this tenant's questions in these partitions whose time is over; how many there were."""
    rows = await (await conn.execute(_EXPIRE, (now, now, list(parts)))).fetchall()
    expired = [_approval(row) for row in rows]
    await _record(conn, scope, Kind.APPROVAL_EXPIRED, [(each, {}) for each in expired], now)
    return len(expired)


async def candidates(
    conn: Connection, signal: SignalID, parts: Sequence[int], most: int
) -> list[Approval]:
    """What was approved of the signal in these partitions and is not carried out, in fan-out order."""
    rows = await (await conn.execute(_CANDIDATES, (signal, list(parts), most))).fetchall()
    return [_approval(row) for row in rows]


async def carry(
    conn: Connection,
    scope: TenantScope,
    approvals: Sequence[Approval],
    snapshot: Snapshot,
    now: datetime,
    windows: Windows,
    over_limit: Callable[[Approval, Subscribed, AccountNow], Reason | None],
) -> set[AccountID]:
    """The accounts whose yes still holds: marked as carried out. The others become void, or are not ours.

    In the transaction that writes their intents, after `turn`. `approvals`: of one signal.
    `over_limit`: whether others have used meanwhile what a limit leaves (fanout/still_within.py).
    """
    if not approvals:
        return set()
    signal, strategy = approvals[0].signal_id, approvals[0].strategy_id
    accounts = [approval.account_id for approval in approvals]
    locked = {row[0] for row in await (await conn.execute(_LOCK, (signal, accounts))).fetchall()}
    books = await read_books(conn, strategy, accounts)
    goes: set[AccountID] = set()
    gone: list[tuple[Approval, dict[str, Any]]] = []
    for approval in approvals:
        if approval.account_id not in locked:
            continue
        why = _void(approval, snapshot, books, now, windows)
        if why is None:
            row = next(r for r in snapshot.rows if r.account.account_id == approval.account_id)
            why = over_limit(approval, row, _book(approval, books))
        if why is None:
            goes.add(approval.account_id)
            continue
        await conn.execute(_VOID, (why.value, signal, approval.account_id))
        gone.append((approval, {"state": "void", "why": why.value, "text": sentence(why)}))
    await _record(conn, scope, Kind.APPROVAL_REFUSED, gone, now)
    if goes:
        await conn.execute(_CARRIED, (now, signal, list(goes)))
    return goes


async def _pending(conn: Connection, signal: SignalID, account: AccountID) -> Approval:
    """The question, in our turn on its strategy and locked. Raises NotFound, AlreadyDecided."""
    missing = NotFound(f"nobody was asked about signal {signal} for account {account}")
    row = await (await conn.execute(_ONE, (signal, account))).fetchone()
    if row is None:
        raise missing
    await turn(conn, row[2])
    row = await (await conn.execute(_ONE + " FOR UPDATE", (signal, account))).fetchone()
    if row is None:
        raise missing
    approval = _approval(row)
    if approval.state != "pending":
        raise AlreadyDecided(f"this question has its answer already: {approval.state}")
    return approval


def _void(
    approval: Approval,
    snapshot: Snapshot,
    books: Mapping[tuple[AccountID, str], AccountNow],
    now: datetime,
    windows: Windows | None,
) -> Reason | Void | None:
    entry = approval.entry
    assert entry.asked is not None
    return void(
        entry.asked,
        snapshot,
        _book(approval, books),
        position=entry.position,
        opens=any(not leg.reduce_only for leg in entry.legs),
        too_late=approval.decided_at is not None and now > approval.deadline,
        windows=windows,
    )


def _book(approval: Approval, books: Mapping[tuple[AccountID, str], AccountNow]) -> AccountNow:
    assert approval.entry.symbol is not None
    return books.get((approval.account_id, approval.entry.symbol), AccountNow())


_KINDS: dict[State, Kind] = {
    "approved": Kind.APPROVAL_GIVEN,
    "rejected": Kind.APPROVAL_REFUSED,
    "void": Kind.APPROVAL_REFUSED,
    "expired": Kind.APPROVAL_EXPIRED,
}


async def _decide(
    conn: Connection,
    scope: TenantScope,
    approval: Approval,
    state: State,
    now: datetime,
    comment: str,
    why: Reason | Void | None = None,
) -> Decision:
    by = msgspec.json.encode(scope.actor).decode()
    code = why.value if why is not None else None
    await conn.execute(
        _DECIDE, (state, now, by, comment, code, approval.signal_id, approval.account_id)
    )
    text = sentence(why) if why is not None else ""
    said = {"state": state, "comment": comment}
    if code is not None:
        said |= {"why": code, "text": text}
    await _record(conn, scope, _KINDS[state], [(approval, said)], now, scope.actor)
    return Decision(state=state, why=why, text=text)


async def _record(
    conn: Connection,
    scope: TenantScope,
    kind: Kind,
    answers: Sequence[tuple[Approval, dict[str, Any]]],
    now: datetime,
    actor: Actor = evidence.WORKER,
) -> None:
    if answers:
        await append(
            conn,
            [
                (
                    scope.tenant_id,
                    evidence.approval(
                        kind, each.signal_id, each.entry, now, each.traceparent, said, actor
                    ),
                )
                for each, said in answers
            ],
        )


Decode = Callable[[str], PlanEntry]
_decode: Decode = msgspec.json.Decoder(PlanEntry).decode


def _approval(row: Sequence[Any]) -> Approval:
    return Approval(
        signal_id=row[0],
        account_id=row[1],
        strategy_id=row[2],
        part=row[3],
        state=row[4],
        entry=_decode(row[5]),
        open_for=row[6],
        traceparent=row[7],
        expires_at=row[8],
        decided_at=row[9],
    )
