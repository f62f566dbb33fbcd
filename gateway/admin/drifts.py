"""Drifts: where our book of an account and its broker's differ, why, and what a person decides of it.

A decision is one row of `drift_decisions` (of the category `drifts` of four eyes, but for a halt, which
never waits). The worker that holds the account carries it out within a second (fanout/drift_decisions.py),
once, and only while the drift is still what it was; `decision` in the drift's view says how far it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta
from psycopg.types.json import Json

from fanout.drift import Kind
from fanout.drift_causes import Cause
from fanout.drift_rows import Decision, strategy_of_drift
from gateway.admin import changes
from gateway.admin.changes import By, ObjectKind, by
from gateway.admin.dangers import NONE
from gateway.admin.objects import Proposed
from gateway.admin.operation import Call, Operation, Result
from gateway.admin.paging import Page, PageQuery, read_id, write_cursor
from tenancy.errors import Conflict, Invalid, NotFound
from tenancy.store.documents import Table
from tenancy.values import AccountID, plain

TAG = "Reconciliation"
DriftState = Literal["open", "explained", "corrected", "closed"]


class DriftQuery(PageQuery, frozen=True, kw_only=True):
    """Which drifts."""

    account_id: UUID | None = None
    state: DriftState | None = None


class DecisionView(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided last. `outcome`: `done`, or why nothing was done; null while it waits for the worker."""

    decision: Decision
    by: dict[str, str]
    reason: str
    decided_at: datetime
    outcome: str | None


class DriftView(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `kind`: a `position`; an `order` at the broker that is not ours; a `shortfall`, where
    the two agree and the strategy's last word ended without its fill. `ours`, `theirs`: signed lots; of a
    shortfall what was meant, and what is held. `evidence`: what the cause rests on."""

    drift_id: UUID
    account_id: UUID
    kind: Kind
    subject: str
    symbol: str | None
    ours: str
    theirs: str
    cause: Cause
    evidence: dict[str, Any]
    since: datetime
    state: DriftState
    ended_at: datetime | None
    signal_id: UUID | None
    """Of the corrective order."""
    decision: DecisionView | None


class NewDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`accept`: the broker's position is the book's. `set_aside`: what differs is not ours, and is left alone.
    `correct`: an order brings the broker's position to our book, within every limit. `halt`: the account is
    halted. `strategy_id`: whose position it is, where several strategies could be meant."""

    decision: Decision
    reason: Annotated[str, Meta(min_length=1, max_length=1000)]
    strategy_id: UUID | None = None


class DecisionDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision as it is kept, and as a second person sees it."""

    drift_id: UUID
    decision: Decision
    reason: str
    strategy_id: UUID | None = None


_SELECT = """
SELECT d.drift_id, d.account_id, d.kind, d.subject, d.symbol, d.ours, d.theirs, d.cause, d.evidence,
       d.since, d.state, d.ended_at, d.signal_id, c.decision, c.by, c.reason, c.created_at, c.outcome, d.part
FROM drifts d LEFT JOIN LATERAL (
    SELECT * FROM drift_decisions c WHERE c.tenant_id = d.tenant_id AND c.drift_id = d.drift_id
    ORDER BY c.decision_id DESC LIMIT 1) c ON true"""
_PAGE = f"""{_SELECT}
WHERE (%(before)s::uuid IS NULL OR d.drift_id < %(before)s)
  AND (%(account)s::uuid IS NULL OR d.account_id = %(account)s)
  AND (%(state)s::text IS NULL OR d.state = %(state)s)
ORDER BY d.drift_id DESC LIMIT %(limit)s"""
_ONE = f"{_SELECT} WHERE d.drift_id = %s"


async def _check(by: By, before: Any, after: DecisionDocument | None) -> None:
    if after is None:
        return
    row = await _row(by.conn, after.drift_id)
    drift = _view(row)
    if drift.state != "open":
        raise Conflict(f"the drift is {drift.state} already: nothing is left to decide")
    if drift.kind == "order" and after.decision == "correct":
        raise Invalid(
            "decision: an order that is not ours is set aside, or cancelled at the broker",
            field="decision",
        )
    adjusts = after.decision == "correct" or (
        after.decision == "accept" and drift.kind == "position"
    )
    if adjusts and after.strategy_id is None:
        account = AccountID(drift.account_id)
        if await strategy_of_drift(by.conn, account, drift.drift_id) is None:
            raise Invalid(
                "strategy_id: several strategies could be meant; say whose position it is",
                field="strategy_id",
            )
    if after.strategy_id is not None:
        await _require_follower(by, drift.account_id, after.strategy_id)


async def _require_follower(by: By, account: UUID, strategy: UUID) -> None:
    query = """
    SELECT EXISTS (SELECT FROM subscriptions WHERE account_id = %(a)s AND strategy_id = %(s)s)
        OR EXISTS (SELECT FROM positions WHERE account_id = %(a)s AND strategy_id = %(s)s)"""
    row = await (await by.conn.execute(query, {"a": account, "s": strategy})).fetchone()
    if row is None or not row[0]:
        raise Invalid(
            "strategy_id: it neither trades nor holds in this account", field="strategy_id"
        )


async def _columns(by: By, object_id: Any, document: DecisionDocument) -> Mapping[str, Any]:
    """Whose worker carries it out, and whose word it is."""
    row = await _row(by.conn, document.drift_id)
    return {"part": row[-1], "by": Json(msgspec.to_builtins(by.scope.actor))}


def _danger(
    before: DecisionDocument | None, after: DecisionDocument | None, facts: Mapping[str, Any]
) -> frozenset[str]:
    if after is None or after.decision == "halt":
        return NONE
    return frozenset({"drifts"})


DRIFT_DECISION: ObjectKind[DecisionDocument] = ObjectKind(
    name="drift_decision",
    table=Table(
        noun="decision about a drift",
        table="drift_decisions",
        key="decision_id",
        document=DecisionDocument,
        facts=("created_at", "done_at", "outcome"),
        fixed=frozenset({"drift_id", "decision", "reason", "strategy_id"}),
        archived="",
        names={"drift_decisions_open": "a decision about this drift is being carried out already"},
    ),
    check=_check,
    columns=_columns,
    danger=_danger,
)


async def _list(call: Call) -> Result:
    query: DriftQuery = call.query
    values = {
        "before": read_id(query.cursor), "account": query.account_id, "state": query.state,
        "limit": query.limit,
    }  # fmt: skip
    found = await (await call.conn.execute(_PAGE, values)).fetchall()
    more = write_cursor(str(found[-1][0])) if len(found) == query.limit else None
    return Result(content=Page(items=[_view(row) for row in found], next=more))


async def _get(call: Call) -> Result:
    return Result(content=_view(await _row(call.conn, call.uuid("drift_id"))))


async def _decide(call: Call) -> Result:
    wanted: NewDecision = call.body
    drift = call.uuid("drift_id")
    await _row(call.conn, drift)
    document = DecisionDocument(
        drift_id=drift, decision=wanted.decision, reason=wanted.reason,
        strategy_id=wanted.strategy_id,
    )  # fmt: skip
    author = msgspec.structs.replace(by(call), why=call.why or wanted.reason)
    _, made = await changes.create(author, DRIFT_DECISION, document)
    if made.proposal is not None:
        return Result(
            status=202,
            content=Proposed(proposal_id=made.proposal),
            location=f"/v1/proposals/{made.proposal}",
        )
    return Result(content=_view(await _row(call.conn, drift)))


async def _row(conn: Any, drift: UUID) -> Sequence[Any]:
    row: Sequence[Any] | None = await (await conn.execute(_ONE, (drift,))).fetchone()
    if row is None:
        raise NotFound(f"there is no drift {drift} in this tenant")
    return row


def _view(row: Sequence[Any]) -> DriftView:
    decision = None
    if row[13] is not None:
        decision = DecisionView(
            decision=row[13], by=row[14], reason=row[15], decided_at=row[16], outcome=row[17]
        )
    return DriftView(
        drift_id=row[0], account_id=row[1], kind=row[2], subject=row[3], symbol=row[4],
        ours=plain(row[5]), theirs=plain(row[6]), cause=row[7], evidence=row[8], since=row[9],
        state=row[10], ended_at=row[11], signal_id=row[12], decision=decision,
    )  # fmt: skip


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="list_drifts", method="GET", path="/v1/drifts", tag=TAG, action="positions:read",
        summary="Where an account's book and its broker's differ, or differed, newest first.",
        handle=_list, query=DriftQuery, answer=Page[DriftView],
    ),
    Operation(
        name="get_drift", method="GET", path="/v1/drifts/{drift_id}", tag=TAG,
        action="positions:read", summary="One difference, its cause, and what was decided of it.",
        handle=_get, answer=DriftView, problems=("not_found",),
    ),
    Operation(
        name="decide_drift", method="POST", path="/v1/drifts/{drift_id}/decision", tag=TAG,
        action="drifts:decide",
        summary="Accept the broker's position, set the difference aside, correct it, or halt the account.",
        handle=_decide, body=NewDecision, answer=DriftView, also={202: Proposed},
        problems=("not_found", "conflict"),
    ),
)  # fmt: skip
