"""The audit records of reconciliation: which facts, in whose words. Pure.

`account.reconciled` says that an account's book agrees for the first time under a lease; each drift has
a `drift.found`, once more where it differs by another amount, and one record of how it ended.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from audit.inbox import Entry
from audit.record import Kind
from fanout.drift import Difference, Ours
from fanout.drift_causes import Named
from tenancy.scope import Actor
from tenancy.values import AccountID, StrategyID, plain

RECONCILER = Actor(kind="algo", id="reconciler")


def reconciled(account: AccountID, broker: str, epoch: int, ours: Ours, at: datetime) -> Entry:
    said = {
        "account_id": str(account), "broker": broker, "epoch": epoch,
        "positions": {symbol: plain(qty) for symbol, qty in sorted(ours.positions.items())[:100]},
        "open_orders": len(ours.open),
    }  # fmt: skip
    return _entry(Kind.ACCOUNT_RECONCILED, account, at, said)


def found(
    drift: UUID, account: AccountID, broker: str, difference: Difference, named: Named, at: datetime,
    policy: str,
) -> Entry:  # fmt: skip
    said = {
        "drift_id": str(drift), "account_id": str(account), "broker": broker,
        "what": difference.kind, "subject": difference.subject, "symbol": difference.symbol,
        "ours": plain(difference.ours), "theirs": plain(difference.theirs), "cause": named.cause,
        "evidence": named.evidence, "policy": policy,
    }  # fmt: skip
    return _entry(Kind.DRIFT_FOUND, account, at, said)


def ended(
    kind: Kind, drift: UUID, account: AccountID, at: datetime, said: dict[str, Any],
    actor: Actor = RECONCILER,
) -> Entry:  # fmt: skip
    """`drift.explained`, `drift.corrected` or `drift.closed`."""
    facts = {"drift_id": str(drift), "account_id": str(account), **said}
    return _entry(kind, account, at, facts, actor)


def adjusted(
    drift: UUID, account: AccountID, strategy: StrategyID, symbol: str, before: Decimal,
    after: Decimal, at: datetime, actor: Actor, reason: str,
) -> Entry:  # fmt: skip
    """That a position was set to what the broker has, without a fill of ours."""
    said = {
        "drift_id": str(drift), "account_id": str(account), "strategy_id": str(strategy),
        "symbol": symbol, "was_qty": plain(before), "qty": plain(after), "why": reason,
    }  # fmt: skip
    return _entry(Kind.POSITION_ADJUSTED, account, at, said, actor)


def _entry(
    kind: Kind, account: AccountID, at: datetime, payload: dict[str, Any],
    actor: Actor = RECONCILER,
) -> Entry:  # fmt: skip
    return Entry(
        kind=kind, ts_ns=int(at.timestamp() * 1_000_000) * 1000, payload=payload, actor=actor,
        acct=str(account),
    )  # fmt: skip
