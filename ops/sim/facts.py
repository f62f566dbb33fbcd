"""What the auditor looks at after a seed: rows, as any SQL client reads them, and what the exchange says.

It imports nothing of ours, and knows the public schema only. Times are seconds since the seed began.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg

_SIGNALS = "SELECT signal_id::text, state, origin FROM signals ORDER BY 1"
_PLANS = "SELECT signal_id::text, plan::text, rotation FROM plans ORDER BY 1"
_ORDERS = """
SELECT o.cl_ord_id, o.order_id, o.signal_id::text, o.strategy_id::text, o.account_id::text, o.leg,
       o.attempt, o.symbol, o.side, o.order_qty, o.ord_type, o.asked_type, o.reduce_only, o.role, o.state,
       o.cum_qty, coalesce(o.text, ''), o.cancel_requested_at IS NOT NULL, o.deadline,
       (SELECT coalesce(sum(e.last_qty), 0) FROM execution_reports e WHERE e.cl_ord_id = o.cl_ord_id)
FROM orders o ORDER BY o.cl_ord_id"""
_POSITIONS = """
SELECT account_id::text, strategy_id::text, symbol, qty FROM positions WHERE qty <> 0 ORDER BY 1, 2, 3"""
_DRIFTS = """
SELECT drift_id::text, account_id::text, kind, subject, state, cause FROM drifts ORDER BY 1"""
_DISAGREEING = """
SELECT account_id::text, state FROM reconciliations WHERE state <> 'agreed' ORDER BY 1"""
_RECORDS = "SELECT seq, kind, oid, payload FROM audit_inbox ORDER BY seq"


@dataclass(frozen=True)
class Leg:
    """One order that a plan wants."""

    signal: str
    account: str
    leg: int
    symbol: str
    side: str
    qty: Decimal
    ord_type: str
    reduce_only: bool
    protected: bool


@dataclass(frozen=True)
class Plan:
    signal: str
    sha256: str
    rotation: int
    legs: tuple[Leg, ...]


@dataclass(frozen=True)
class Order:
    """One attempt, as its row says it."""

    name: str
    order: str
    signal: str
    strategy: str
    account: str
    leg: int
    attempt: int
    symbol: str
    side: str
    qty: Decimal
    ord_type: str
    asked_type: str | None
    reduce_only: bool
    role: str
    state: str
    cum_qty: Decimal
    text: str
    cancel_wanted: bool
    deadline_s: float
    reported: Decimal


@dataclass(frozen=True)
class Record:
    seq: int
    kind: str
    oid: str | None
    payload: dict[str, Any]


@dataclass(frozen=True)
class There:
    """One order as the exchange has it."""

    number: int
    account: str
    name: str
    symbol: str
    side: str
    qty: Decimal
    filled: Decimal
    open: bool
    at_s: float


@dataclass(frozen=True)
class Left:
    """A request that left a worker: what the order's row said at that moment, None: there was none."""

    name: str
    host: str
    at_s: float
    state: str | None
    expired: bool = False
    """Its deadline at the exchange had passed when it left: a host slept, and nobody takes it any more."""
    epoch: int = 0
    """Of the lease under which it left."""
    seq: int = 0
    """Of the newest audit record at that moment."""
    reduce_only: bool = False
    qty: Decimal = Decimal(0)


@dataclass(frozen=True)
class Stop:
    """The kill switch: what it covered, and from when to when."""

    scope: str
    of: str
    since_s: float
    until_s: float


@dataclass(frozen=True)
class Drift:
    """A difference between book and broker that the product believed."""

    drift: str
    account: str
    kind: str
    subject: str
    state: str
    cause: str


@dataclass(frozen=True)
class Facts:
    """Everything, of a seed that has settled."""

    sent: tuple[str, ...]
    """The signals that were kept for senders."""
    signals: dict[str, tuple[str, str]]
    """Signal → state and origin."""
    plans: tuple[Plan, ...]
    orders: tuple[Order, ...]
    positions: dict[tuple[str, str, str], Decimal]
    records: tuple[Record, ...]
    there: tuple[There, ...]
    trades: tuple[tuple[float, str, Decimal], ...]
    """When, of which order, signed lots: the exchange's own list, in its order."""
    left: tuple[Left, ...]
    drifts: tuple[Drift, ...] = ()
    disagreeing: dict[str, str] = field(default_factory=dict)
    """Account → how its last comparison ended, where that is not `agreed`."""
    stops: tuple[Stop, ...] = ()
    slack_s: float = 0.0
    """By how much hosts' clocks were wrong in this seed."""


def read(conn: psycopg.Connection[Any], begin: datetime) -> dict[str, Any]:
    """The part of Facts that lies in PostgreSQL."""

    def rows(query: str) -> Sequence[tuple[Any, ...]]:
        return conn.execute(query.encode()).fetchall()

    return {
        "signals": {row[0]: (row[1], row[2] or "") for row in rows(_SIGNALS)},
        "plans": tuple(_plan(*row) for row in rows(_PLANS)),
        "orders": tuple(
            Order(*[*row[:18], (row[18] - begin).total_seconds(), row[19]]) for row in rows(_ORDERS)
        ),
        "positions": {row[:3]: row[3] for row in rows(_POSITIONS)},
        "drifts": tuple(Drift(*row) for row in rows(_DRIFTS)),
        "disagreeing": {row[0]: row[1] for row in rows(_DISAGREEING)},
        "records": tuple(
            Record(row[0], row[1], row[2], json.loads(row[3])) for row in rows(_RECORDS)
        ),
    }


def _plan(signal: str, text: str, rotation: int) -> Plan:
    said = json.loads(text, parse_float=Decimal)
    legs = tuple(_legs(signal, said["groups"]))
    return Plan(signal, hashlib.sha256(text.encode()).hexdigest(), rotation, legs)


def _legs(signal: str, groups: Iterable[dict[str, Any]]) -> Iterable[Leg]:
    for group in groups:
        for leg in group.get("legs", ()):
            for index, account in enumerate(group["account_id"]):
                yield Leg(
                    signal=signal, account=account, leg=leg["leg"], symbol=group["symbol"],
                    side=leg["side"], qty=_number(group["numbers"][leg["lots"]], index),
                    ord_type=leg["ord_type"], reduce_only=leg.get("reduce_only", False),
                    protected=leg.get("protect") is not None,
                )  # fmt: skip


def _number(column: dict[str, Any], index: int) -> Decimal:
    """An account's number: integers of 10^-scale, and a single one is everybody's."""
    values = column["values"]
    value = values[index] if len(values) > 1 else values[0]
    return Decimal(value).scaleb(-column.get("scale", 0))
