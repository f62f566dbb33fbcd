"""SQL of dead letters: which signals have some, what was left undone of one, and a replay as a signal of our own.

Each function works in the caller's tenant transaction.

- `page`, `counted`   signals that are done and of which something may be undone: a partial index, one
                      row for a signal however many orders it had (migration 0029).
- `attempts`          the orders of one signal, for fanout/dead_letters.py to judge.
- `send`              the derived signal, a row for each account (the key is why none is replayed twice),
                      `signal.accepted` as ingress writes it, and `signal.replayed`, which names both.
                      *Crash before the commit: nothing. After: it is a signal like any other.*
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from audit.inbox import Entry, append
from audit.record import Kind
from fanout.dead_letters import DEAD, PASSING, Attempt
from fanout.order import OrdState
from tenancy.database import Connection
from tenancy.scope import TenantScope
from tenancy.values import SignalID, StrategyID, partition

HOOK = "~replay"
"""Whose messages replays are: no hook's name begins so."""
ONCE = "signal_replays_pkey"
NOT_KEPT = frozenset({"delay"})
"""Members that a replay has not: it is planned at once."""

# Word for word as the index has it: else the server does not see that it may use it.
_LEFT = f"""o.done_at IS NOT NULL AND (o.reasons ?| ARRAY[{", ".join(f"'{r}'" for r in sorted(PASSING))}]
    OR (o.summary -> 'states' ->> 'failed') IS NOT NULL OR (o.summary -> 'states' ->> 'partly_filled') IS NOT NULL
    OR (o.summary ->> 'state') = 'refused')"""
_PAGE = f"""
SELECT s.signal_id, s.strategy_id, s.ticker, s.received_at, s.state, o.reasons
FROM signal_outcomes o JOIN signals s USING (signal_id)
WHERE {_LEFT} AND s.origin IN ('hook', 'replay') AND (%(before)s::uuid IS NULL OR o.signal_id < %(before)s)
  AND (%(strategy)s::uuid IS NULL OR o.strategy_id = %(strategy)s)
  AND (%(low)s::uuid IS NULL OR o.signal_id >= %(low)s)
ORDER BY o.tenant_id, o.signal_id DESC LIMIT %(limit)s"""  # noqa: S608 - constants only
_DEAD = ", ".join(f"'{state.value}'" for state in DEAD)
_COUNTED = f"""
SELECT signal_id, state, count(*) FROM (
    SELECT DISTINCT ON (signal_id, account_id) signal_id, account_id, state FROM (
        SELECT DISTINCT ON (signal_id, account_id, leg) signal_id, account_id, leg, state, cancel_requested_at
        FROM orders WHERE signal_id = ANY(%b::uuid[]) AND role = 'main' AND NOT starts_with(broker, 'shadow-')
        ORDER BY signal_id, account_id, leg, attempt DESC) AS last
    WHERE state IN ({_DEAD}) AND cancel_requested_at IS NULL ORDER BY signal_id, account_id, leg) AS dead
GROUP BY 1, 2"""  # noqa: S608 - constants only
_REPLAYED = (
    "SELECT signal_id, count(*) FROM signal_replays WHERE signal_id = ANY(%b::uuid[]) GROUP BY 1"
)
_ONE = """
SELECT s.signal_id, s.strategy_id, s.ticker, s.received_at, s.state, s.body, o.done_at IS NOT NULL, s.origin
FROM signals s LEFT JOIN signal_outcomes o USING (signal_id) WHERE s.signal_id = %s"""
_ATTEMPTS = """
SELECT account_id, cl_ord_id, leg, attempt, broker, symbol, side, order_qty, cum_qty, reduce_only, state,
       text, cancel_requested_at IS NOT NULL
FROM orders WHERE signal_id = %s AND role = 'main' AND NOT starts_with(broker, 'shadow-')
ORDER BY place, account_id, leg, attempt"""
_REPLAYS = "SELECT account_id, replay_id FROM signal_replays WHERE signal_id = %s"
_SIGNAL = """
INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part, ticker, body, body_sha256,
                     traceparent, received_at, origin, accounts)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'replay', %s)"""
_KEEP = """
INSERT INTO signal_replays (tenant_id, signal_id, account_id, replay_id, reason, by, at)
SELECT %s, %s, account_id, %s, %s, %s::jsonb, %s FROM unnest(%s::uuid[]) AS account_id"""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A signal of which something may be undone. `done`: nothing of it is left to happen."""

    signal_id: UUID
    strategy_id: UUID
    ticker: str
    received_at: datetime
    state: str
    body: bytes
    done: bool
    ours: bool
    """The kill switch's: it sends another exit by itself."""


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be sent in place of what was left undone."""

    signal_id: SignalID
    of: UUID
    strategy_id: StrategyID
    ticker: str
    body: bytes
    accounts: tuple[UUID, ...]
    reason: str
    at: datetime
    trace_id: str


async def page(
    conn: Connection, *, strategy: UUID | None, low: UUID | None, before: UUID | None, limit: int
) -> list[tuple[Any, ...]]:
    """Signals that may have dead letters, newest first: id, strategy, ticker, time, state, reasons."""
    values = {"strategy": strategy, "low": low, "before": before, "limit": limit}
    return await (await conn.execute(_PAGE.encode(), values)).fetchall()


async def counted(
    conn: Connection, signals: Sequence[UUID]
) -> tuple[dict[UUID, dict[str, int]], dict[UUID, int]]:
    """How many accounts have a leg that ended in which state; and how many were replayed."""
    states: dict[UUID, dict[str, int]] = defaultdict(dict)
    cursor = await conn.execute(_COUNTED.encode(), (list(signals),))
    for signal, state, count in await cursor.fetchall():
        states[signal][state] = count
    replayed = await (await conn.execute(_REPLAYED, (list(signals),))).fetchall()
    return states, {row[0]: row[1] for row in replayed}


async def read(conn: Connection, signal: UUID, *, lock: bool = False) -> Letter | None:
    """`lock`: no other replay of it begins before the caller's transaction ends."""
    query = _ONE + (" FOR UPDATE OF s" if lock else "")
    row = await (await conn.execute(query.encode(), (signal,))).fetchone()
    if row is None:
        return None
    return Letter(
        signal_id=row[0], strategy_id=row[1], ticker=row[2], received_at=row[3], state=row[4],
        body=bytes(row[5]), done=row[6], ours=row[7] not in ("hook", "replay"),
    )  # fmt: skip


async def attempts(conn: Connection, signal: UUID) -> list[Attempt]:
    """In fan-out order, then by leg and attempt."""
    rows = await (await conn.execute(_ATTEMPTS, (signal,))).fetchall()
    return [
        Attempt(
            account_id=row[0], cl_ord_id=row[1], leg=row[2], attempt=row[3], broker=row[4], symbol=row[5],
            side=row[6], order_qty=row[7], cum_qty=row[8], reduce_only=row[9], state=OrdState(row[10]),
            text=row[11], cancelled=row[12],
        )
        for row in rows
    ]  # fmt: skip


async def replays(conn: Connection, signal: UUID) -> dict[UUID, UUID]:
    """Account → the signal that was sent for it in place of this one."""
    return {row[0]: row[1] for row in await (await conn.execute(_REPLAYS, (signal,))).fetchall()}


async def send(conn: Connection, scope: TenantScope, replay: Replay) -> None:
    """Keep it. Raises psycopg's UniqueViolation (ONCE) where one of the accounts was replayed before."""
    message = f"replay of {replay.of} {replay.signal_id}"
    await conn.execute(
        _SIGNAL,
        (
            replay.signal_id, scope.tenant_id, replay.strategy_id, HOOK, message,
            partition(replay.strategy_id), replay.ticker, replay.body,
            hashlib.sha256(replay.body).digest(),
            f"00-{replay.signal_id.hex}-{replay.signal_id.hex[-16:]}-01", replay.at,
            list(replay.accounts),
        ),
    )  # fmt: skip
    by = msgspec.json.encode(scope.actor).decode()
    await conn.execute(
        _KEEP,
        (
            scope.tenant_id, replay.of, replay.signal_id, replay.reason, by, replay.at,
            list(replay.accounts),
        ),
    )  # fmt: skip
    both = {"signal_id": str(replay.signal_id), "strategy_id": str(replay.strategy_id)}
    accounts = [str(account) for account in replay.accounts]
    accepted = {**both, "hook_id": HOOK, "message_id": message, "accounts": accounts}
    told = {
        "signal_id": str(replay.of), "strategy_id": str(replay.strategy_id),
        "replay_id": str(replay.signal_id), "accounts": accounts, "reason": replay.reason,
    }  # fmt: skip
    await append(
        conn,
        [
            (scope.tenant_id, _entry(scope, replay, Kind.SIGNAL_ACCEPTED, accepted)),
            (scope.tenant_id, _entry(scope, replay, Kind.SIGNAL_REPLAYED, told)),
        ],
    )


def derived(body: bytes) -> bytes:
    """The body of a replay: the signal as its sender wrote it, but for its delay. Pure.

    Numbers stay as they stand there, to the last digit. Raises ValueError where it is no JSON object.
    """
    members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({n: value for n, value in members.items() if n not in NOT_KEPT})


def _entry(scope: TenantScope, replay: Replay, kind: Kind, facts: Mapping[str, Any]) -> Entry:
    return Entry(
        kind=kind, ts_ns=int(replay.at.timestamp() * 1_000_000) * 1000, payload=dict(facts),
        actor=scope.actor, cor=replay.trace_id or replay.signal_id.hex,
    )  # fmt: skip
