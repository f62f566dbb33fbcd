"""SQL of decisions about drifts. Each function works in the caller's tenant transaction."""

from __future__ import annotations

import hashlib
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec
from psycopg.types.json import Json

from fanout.drift import Kind
from fanout.order import FINAL, OrdState
from tenancy.database import Connection
from tenancy.scope import Actor
from tenancy.values import AccountID, SignalID, StrategyID, TenantID, partition

HOOK = "~reconciliation"
"""Whose messages our corrections are: no hook's name begins so."""
Decision = Literal["accept", "set_aside", "correct", "halt"]
_OPEN = [state.value for state in OrdState if state not in FINAL and state is not OrdState.HELD]

_PENDING = """
SELECT c.decision_id, c.drift_id, d.account_id, c.part, c.decision, c.strategy_id, c.reason, c.by
FROM drift_decisions c JOIN drifts d USING (tenant_id, drift_id)
WHERE c.decision_id = %s AND c.done_at IS NULL"""
_LOCK = """
SELECT d.kind, d.symbol, d.ours, d.theirs, d.state,
       coalesce(a.settings ->> 'position_mode' = 'hedge', false)
FROM drifts d JOIN drift_decisions c USING (tenant_id, drift_id) JOIN accounts a USING (account_id)
WHERE c.decision_id = %s AND c.done_at IS NULL FOR UPDATE OF d, c"""
_DONE = "UPDATE drift_decisions SET done_at = %s, outcome = %s WHERE decision_id = %s"
_END = """
UPDATE drifts SET state = %s, ended_at = %s, decided_by = %s, reason = %s, signal_id = %s
WHERE drift_id = %s"""
# Whose position it is: who holds the symbol there, else who traded it last, else who follows the account.
_HOLDERS = """
SELECT strategy_id FROM positions WHERE account_id = %s AND symbol = %s AND qty <> 0
ORDER BY strategy_id"""
_LAST = """
SELECT strategy_id FROM orders WHERE account_id = %s AND symbol = %s
ORDER BY intent_at DESC LIMIT 1"""
_FOLLOWED = """
SELECT strategy_id FROM subscriptions WHERE account_id = %s AND shadow_of IS NULL
ORDER BY strategy_id"""
_OF_LEG = "SELECT strategy_id FROM orders WHERE cl_ord_id = %s"
_DRIFT = "SELECT kind, subject, symbol FROM drifts WHERE drift_id = %s"
_UNDER_WAY = """
SELECT EXISTS (SELECT FROM orders WHERE account_id = %s AND symbol = %s AND part = %s AND state = ANY(%s))"""
_HELD = """
SELECT strategy_id, qty FROM positions WHERE account_id = %s AND symbol = %s
ORDER BY strategy_id FOR UPDATE"""
# The average is kept: what was adjusted had no price of ours.
_ADJUST = """
INSERT INTO positions AS p (account_id, strategy_id, symbol, tenant_id, qty, avg_px, updated_at)
VALUES (%s, %s, %s, %s, %s, NULL, %s)
ON CONFLICT (account_id, strategy_id, symbol) DO UPDATE SET qty = excluded.qty,
    avg_px = CASE WHEN sign(p.qty) = sign(excluded.qty) THEN p.avg_px END,
    last_realised = 0, updated_at = excluded.updated_at"""
_SIGNAL = """
INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part, ticker, body, body_sha256,
                     traceparent, received_at, origin, accounts)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'reconciliation', %s)
ON CONFLICT (hook_id, message_id) DO NOTHING RETURNING signal_id"""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that is to be carried out."""

    decision_id: UUID
    drift_id: UUID
    account_id: AccountID
    part: int
    what: Decision
    strategy_id: StrategyID | None
    reason: str
    actor: Actor


class Drift(msgspec.Struct, frozen=True):
    """The drift of a decision, its row locked."""

    kind: Kind
    symbol: str | None
    ours: Decimal
    theirs: Decimal
    state: Literal["open", "explained", "corrected", "closed"]
    hedged: bool
    """Both sides of the symbol are added up in `ours` and `theirs`."""


async def pending(conn: Connection, decision: UUID) -> Pending | None:
    """None: it is carried out already."""
    row = await (await conn.execute(_PENDING, (decision,))).fetchone()
    if row is None:
        return None
    return Pending(
        decision_id=row[0], drift_id=row[1], account_id=AccountID(row[2]), part=row[3], what=row[4],
        strategy_id=row[5], reason=row[6], actor=msgspec.convert(row[7], Actor),
    )  # fmt: skip


async def strategy_of(conn: Connection, asked: Pending) -> StrategyID | None:
    """Whose position is meant; None where that cannot be told."""
    if asked.strategy_id is not None:
        return asked.strategy_id
    return await strategy_of_drift(conn, asked.account_id, asked.drift_id)


async def strategy_of_drift(conn: Connection, account: AccountID, drift: UUID) -> StrategyID | None:
    """The leg's own; else the one that holds the symbol there, that traded it last, or that follows."""
    row = await (await conn.execute(_DRIFT, (drift,))).fetchone()
    if row is None:
        return None
    kind, subject, symbol = row
    if kind == "shortfall":
        of_leg = await (await conn.execute(_OF_LEG, (subject,))).fetchone()
        return None if of_leg is None else StrategyID(of_leg[0])
    for query, values in (
        (_HOLDERS, (account, symbol)),
        (_LAST, (account, symbol)),
        (_FOLLOWED, (account,)),
    ):
        found = await (await conn.execute(query, values)).fetchall()
        if found:
            return StrategyID(found[0][0]) if len(found) == 1 else None
    return None


async def lock(conn: Connection, asked: Pending) -> Drift | None:
    """None: somebody else has carried it out meanwhile."""
    row = await (await conn.execute(_LOCK, (asked.decision_id,))).fetchone()
    return None if row is None else Drift(*row)


async def done(conn: Connection, decision: UUID, outcome: str, at: datetime) -> None:
    await conn.execute(_DONE, (at, outcome, decision))


async def end(
    conn: Connection, asked: Pending, state: str, at: datetime, signal: SignalID | None
) -> None:
    by = Json(msgspec.to_builtins(asked.actor))
    await conn.execute(_END, (state, at, by, asked.reason, signal, asked.drift_id))


async def under_way(conn: Connection, account: AccountID, symbol: str) -> bool:
    """Whether an order of the symbol is open there: what it fills would be counted twice."""
    values = (account, symbol, partition(account), _OPEN)
    row = await (await conn.execute(_UNDER_WAY, values)).fetchone()
    return bool(row and row[0])


async def held(conn: Connection, account: AccountID, symbol: str) -> dict[StrategyID, Decimal]:
    """Every strategy's lots, the rows locked."""
    rows = await (await conn.execute(_HELD, (account, symbol))).fetchall()
    return {StrategyID(strategy): qty for strategy, qty in rows}


async def adjust(
    conn: Connection, tenant: TenantID, account: AccountID, strategy: StrategyID, symbol: str,
    qty: Decimal, at: datetime,
) -> None:  # fmt: skip
    await conn.execute(_ADJUST, (account, strategy, symbol, tenant, qty, at))


async def keep_signal(
    conn: Connection, tenant: TenantID, signal: SignalID, strategy: StrategyID, message: str,
    symbol: str, body: bytes, account: AccountID, at: datetime,
) -> bool:  # fmt: skip
    """Keep a signal of our own for one account; False where that message was kept before."""
    values = (
        signal, tenant, strategy, HOOK, message, partition(strategy), symbol, body,
        hashlib.sha256(body).digest(), f"00-{signal.hex}-{signal.hex[-16:]}-01", at, [account],
    )  # fmt: skip
    return (await (await conn.execute(_SIGNAL, values)).fetchone()) is not None
