"""SQL of interventions: which orders and positions one act of the kill switch is about, and how far it is.

Each function works in the caller's tenant transaction. `SCOPE` is the one place that says what
belongs to a platform, a tenant, a strategy, a group, an account or an instrument; it is asked of
open orders and of positions alike, and again each time, so an account that joins a group while the
group is made flat is made flat with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from fanout.order import FINAL, OrdState
from tenancy.database import Connection
from tenancy.parameters import TradingState
from tenancy.scope import Actor, TenantScope
from tenancy.values import AccountID, SignalID, StrategyID, TenantID, partition

Level = Literal["no_open", "block_all", "cancel_open", "flatten"]
Layer = Literal["platform", "tenant", "strategy", "group", "account", "instrument"]
State = Literal["working", "done", "failed", "released"]
STATE_OF: dict[Level, TradingState] = {
    "no_open": "reducing",
    "block_all": "halted",
    "cancel_open": "reducing",
    "flatten": "reducing",
}
"""What each level makes of a layer that is not stricter already."""
HOOK = "~kill_switch"
"""Whose messages our own signals are: no hook's name begins so."""

SCOPE = """(i.scope IN ('platform', 'tenant')
   OR i.scope = 'strategy' AND o.strategy_id = i.object_id
   OR i.scope = 'account' AND o.account_id = i.object_id
   OR i.scope = 'group' AND o.account_id IN (SELECT g.account_id FROM accounts g WHERE g.group_id = i.object_id)
   OR i.scope = 'instrument' AND o.broker = i.broker AND o.symbol = i.symbol)"""
_OPEN = ", ".join(f"'{state.value}'" for state in OrdState if state not in FINAL)
# Of orders that others sent: `cancel_open` means what was asked for before it, and leaves what
# stands behind a position; `flatten` means all.
MEANT = f"""
FROM orders o JOIN interventions i ON i.intervention_id = %(id)s
WHERE o.part = ANY(%(parts)s::smallint[]) AND o.state IN ({_OPEN}) AND {SCOPE}
  AND (i.level = 'flatten' OR o.role = 'main')
  AND EXISTS (SELECT FROM signals s WHERE s.signal_id = o.signal_id AND s.origin <> 'kill_switch'
              AND (i.level = 'flatten' OR s.received_at <= i.at))"""
# A market order under way fills or is denied before anybody could cancel it.
_TO_CANCEL = f"""
SELECT o.cl_ord_id {MEANT} AND o.cancel_requested_at IS NULL
  AND (o.ord_type <> 'market' OR o.state IN ('held', 'waiting', 'new', 'partially_filled'))
ORDER BY o.cl_ord_id LIMIT %(most)s FOR UPDATE OF o SKIP LOCKED"""
_WANT = f"""
UPDATE orders SET cancel_requested_at = %(at)s, intervention_id = %(id)s,
    state = CASE state WHEN 'held' THEN 'canceled' ELSE state END,
    done_at = CASE state WHEN 'held' THEN %(at)s ELSE done_at END
WHERE cl_ord_id IN ({_TO_CANCEL}) RETURNING cl_ord_id"""  # noqa: S608 - constants only
_HELD = f"""
FROM (SELECT p.*, a.broker FROM positions p JOIN accounts a USING (account_id) WHERE p.qty <> 0) o
JOIN interventions i ON i.intervention_id = %(id)s WHERE {SCOPE}"""  # noqa: S608 - constants only
_REMAINING = f"""
SELECT o.strategy_id, o.broker, o.symbol, array_agg(o.account_id ORDER BY o.account_id) {_HELD}
GROUP BY o.strategy_id, o.broker, o.symbol"""
# Settled: planned, its intents written, none of its orders open.
_EXITS = f"""
SELECT DISTINCT ON (e.strategy_id, e.broker, e.symbol) e.strategy_id, e.broker, e.symbol, e.round, e.at,
       s.state <> 'accepted' AND NOT EXISTS (SELECT FROM plan_parts p WHERE p.signal_id = e.signal_id)
       AND NOT EXISTS (SELECT FROM orders o WHERE o.signal_id = e.signal_id AND o.state IN ({_OPEN}))
FROM intervention_exits e JOIN signals s USING (signal_id) WHERE e.intervention_id = %(id)s
ORDER BY e.strategy_id, e.broker, e.symbol, e.round DESC"""  # noqa: S608 - constants only
_READ = """
SELECT tenant_id, part, level, scope, object_id, broker, symbol, reason, by, at, state, late_at
FROM interventions WHERE intervention_id = %s"""
# What an exit is sized by must not still be denied: an opening of before that has not been sent.
_READY = """
SELECT p.account_id FROM positions p JOIN accounts a USING (account_id)
WHERE p.strategy_id = %(strategy)s AND p.symbol = %(symbol)s AND a.broker = %(broker)s AND p.qty <> 0
  AND p.account_id = ANY(%(accounts)s)
  AND NOT EXISTS (SELECT FROM plan_parts l WHERE l.strategy_id = p.strategy_id)
  AND NOT EXISTS (SELECT FROM orders w WHERE w.strategy_id = p.strategy_id AND w.account_id = p.account_id
                  AND w.symbol = p.symbol AND w.state IN ('waiting', 'intent'))
ORDER BY p.account_id"""
_SIGNAL = """
INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part, ticker, body, body_sha256,
                     traceparent, received_at, origin, accounts)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'kill_switch', %s) ON CONFLICT (hook_id, message_id) DO NOTHING
RETURNING signal_id"""
_EXIT = """
INSERT INTO intervention_exits (signal_id, intervention_id, tenant_id, strategy_id, broker, symbol, round, at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"""
_INSERT = """
INSERT INTO interventions (intervention_id, tenant_id, part, level, scope, object_id, broker, symbol, reason, by,
                           at, parent_id, state, ended_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s, %s, %s, %s)
ON CONFLICT (tenant_id, parent_id) DO NOTHING"""
_END = """
UPDATE interventions SET state = %s, ended_at = %s WHERE intervention_id = %s AND state = 'working'"""
_LATE = """
UPDATE interventions SET late_at = %s
WHERE intervention_id = %s AND state = 'working' AND late_at IS NULL"""


class Intervention(msgspec.Struct, frozen=True, kw_only=True):
    """One act of the kill switch, as its row says it."""

    intervention_id: UUID
    tenant_id: TenantID
    part: int
    level: Level
    scope: Layer
    object_id: UUID
    broker: str | None
    symbol: str | None
    reason: str
    by: Actor
    at: datetime
    state: State
    late_at: datetime | None = None
    parent_id: UUID | None = None


class Group(msgspec.Struct, frozen=True):
    """What one exit closes: a strategy's positions in one symbol of one broker."""

    strategy_id: StrategyID
    broker: str
    symbol: str


class Exits(msgspec.Struct, frozen=True):
    """The last exit that was sent for a group."""

    round: int
    at: datetime
    settled: bool


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is. `open`: orders of others that are not final; `exits_open`: of our own."""

    remaining: dict[Group, tuple[AccountID, ...]]
    exits: dict[Group, Exits]
    open: int

    @property
    def exits_open(self) -> bool:
        return any(not exits.settled for exits in self.exits.values())


async def insert(conn: Connection, made: Intervention) -> bool:
    """Keep it; False where the customer has this act of the platform's already.

    What has nothing to carry out is done at once.
    """
    carried = made.state == "working"
    values = (
        made.intervention_id, made.tenant_id, made.part, made.level, made.scope, made.object_id,
        made.broker, made.symbol, made.reason, msgspec.json.encode(made.by).decode(), made.at,
        made.parent_id, made.state, None if carried else made.at,
    )  # fmt: skip
    return (await conn.execute(_INSERT, values)).rowcount == 1


async def read(conn: Connection, intervention: UUID, *, lock: bool = False) -> Intervention | None:
    """`lock`: nobody ends it before the caller's transaction does."""
    query = _READ + (" FOR SHARE" if lock else "")
    row = await (await conn.execute(query.encode(), (intervention,))).fetchone()
    if row is None:
        return None
    return Intervention(
        intervention_id=intervention, tenant_id=row[0], part=row[1], level=row[2], scope=row[3],
        object_id=row[4], broker=row[5], symbol=row[6], reason=row[7],
        by=msgspec.convert(row[8], Actor), at=row[9], state=row[10], late_at=row[11],
    )  # fmt: skip


async def want_cancelled(
    conn: Connection, intervention: UUID, parts: Sequence[int], at: datetime, most: int
) -> list[str]:
    """Wish that these orders be cancelled; what is only held here is cancelled by it. Their names."""
    values = {"id": intervention, "parts": list(parts), "at": at, "most": most}
    return [row[0] for row in await (await conn.execute(_WANT, values)).fetchall()]


Remaining = dict[Group, tuple[AccountID, ...]]


async def remaining(conn: Connection, intervention: UUID) -> Remaining:
    """The positions in its scope that are not zero."""
    cursor = await conn.execute(_REMAINING, {"id": intervention})
    return {Group(*row[:3]): tuple(row[3]) for row in await cursor.fetchall()}


async def standing(conn: Connection, intervention: UUID, parts: Sequence[int]) -> Standing:
    """How far it is, as the caller's transaction sees it."""
    values = {"id": intervention, "parts": list(parts)}
    exits = await (await conn.execute(_EXITS, values)).fetchall()
    counted = await (await conn.execute(("SELECT count(*) " + MEANT).encode(), values)).fetchone()
    assert counted is not None
    return Standing(
        remaining=await remaining(conn, intervention),
        exits={Group(*row[:3]): Exits(*row[3:]) for row in exits},
        open=counted[0],
    )


async def ready(conn: Connection, group: Group, accounts: Sequence[AccountID]) -> list[AccountID]:
    """Those of the accounts that hold a position still, and of which nothing waits to be sent."""
    values = {
        "strategy": group.strategy_id, "broker": group.broker, "symbol": group.symbol,
        "accounts": list(accounts),
    }  # fmt: skip
    return [row[0] for row in await (await conn.execute(_READY, values)).fetchall()]


async def send_exit(
    conn: Connection,
    scope: TenantScope,
    intervention: UUID,
    group: Group,
    accounts: Sequence[AccountID],
    signal: SignalID,
    round: int,
    at: datetime,
) -> bool:
    """Keep a signal of our own that closes the group's positions; False where that round has one."""
    body = exit_body(group.symbol)
    values = (
        signal, scope.tenant_id, group.strategy_id, HOOK, message_id(intervention, group, round),
        partition(group.strategy_id), group.symbol, body, hashlib.sha256(body).digest(),
        f"00-{intervention.hex}-{signal.hex[-16:]}-01", at, list(accounts),
    )  # fmt: skip
    if await (await conn.execute(_SIGNAL, values)).fetchone() is None:
        return False
    kept = (
        signal, intervention, scope.tenant_id, group.strategy_id, group.broker, group.symbol, round, at,
    )  # fmt: skip
    await conn.execute(_EXIT, kept)
    return True


async def end(conn: Connection, intervention: UUID, state: State, at: datetime) -> bool:
    """Whether it was we who ended it."""
    return (await conn.execute(_END, (state, at, intervention))).rowcount == 1


async def mark_late(conn: Connection, intervention: UUID, at: datetime) -> bool:
    """Whether nobody has been told before."""
    return (await conn.execute(_LATE, (at, intervention))).rowcount == 1


def exit_body(symbol: str) -> bytes:
    """The signal: close the whole position at market, and cancel what is open. Pure."""
    return msgspec.json.encode(
        {"ticker": symbol, "action": "exit", "orderType": "market", "cancel": True}
    )


def message_id(intervention: UUID, group: Group, round: int) -> str:
    """The same for whoever sends this exit of this round: the second one finds it kept. Pure."""
    of = f"{group.strategy_id}/{group.broker}/{group.symbol}".encode()
    return f"{intervention}-{hashlib.sha256(of).hexdigest()[:32]}-{round}"


def later(at: datetime, seconds: float) -> datetime:
    return at + timedelta(seconds=seconds)
