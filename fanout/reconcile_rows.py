"""SQL of reconciliation: our book of some accounts, what was found before, what is found now.

Each function works in the caller's tenant transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec
from psycopg.types.json import Json

from fanout.abilities import BrokerFill
from fanout.drift import Aside, Difference, Kind, OpenOrder, Ours
from fanout.drift_causes import Cause, Leg, Named
from fanout.order import OrdState
from tenancy.account_policy import OnDrift
from tenancy.database import Connection
from tenancy.scope import Actor
from tenancy.values import AccountID, StrategyID, TenantID

State = Literal["agreed", "differs", "unknown"]
PolicyDecision = Literal["correct", "halt"]
MARGIN = timedelta(minutes=5)
"""How much further back than the last agreement causes are looked for."""
NEVER_AGREED = timedelta(days=2)
LEGS_MOST = 50

_POSITIONS = """
SELECT account_id, symbol, sum(qty) FROM positions
WHERE account_id = ANY(%b::uuid[]) AND qty <> 0 GROUP BY account_id, symbol"""
_OPEN = """
SELECT account_id, cl_ord_id, symbol, state, cum_qty FROM orders
WHERE part = ANY(%b::smallint[]) AND account_id = ANY(%b::uuid[])
  AND state IN ('intent', 'in_doubt', 'new', 'partially_filled') ORDER BY cl_ord_id"""
_STANDING = """
SELECT account_id, drift_id, kind, subject, symbol, ours, theirs, cause, state FROM drifts
WHERE account_id = ANY(%b::uuid[]) AND (state = 'open' OR state = 'explained' AND kind <> 'shortfall')"""
_BEFORE = """
SELECT account_id, state, epoch, agreed_at, away_at, baseline FROM reconciliations
WHERE account_id = ANY(%b::uuid[])"""
_KEEP = """
INSERT INTO reconciliations AS r (tenant_id, account_id, state, why, at, epoch, agreed_at, away_at, baseline)
SELECT n.tenant_id, n.account_id, n.state, n.why, n.at, n.epoch, n.agreed_at, n.away_at, n.baseline::jsonb
FROM unnest(%b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::timestamptz[], %b::bigint[],
            %b::timestamptz[], %b::timestamptz[], %b::text[])
     AS n(tenant_id, account_id, state, why, at, epoch, agreed_at, away_at, baseline)
ON CONFLICT (tenant_id, account_id) DO UPDATE SET state = excluded.state, why = excluded.why,
    at = excluded.at, epoch = excluded.epoch, agreed_at = coalesce(excluded.agreed_at, r.agreed_at),
    away_at = coalesce(excluded.away_at, r.away_at), baseline = excluded.baseline
WHERE r.epoch <= excluded.epoch"""
_FIND = """
INSERT INTO drifts (tenant_id, drift_id, account_id, part, kind, subject, symbol, ours, theirs, cause,
                    evidence, since) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (tenant_id, account_id, kind, subject) WHERE state = 'open' DO NOTHING RETURNING drift_id"""
_MOVE = """
UPDATE drifts SET ours = %s, theirs = %s, cause = %s, evidence = %s
WHERE drift_id = %s AND state = 'open'"""
_CLOSE = """
UPDATE drifts SET state = 'closed', ended_at = %s
WHERE drift_id = ANY(%s) AND state IN ('open', 'explained')
RETURNING drift_id, account_id, kind, subject"""
# The last attempt of each leg that ended without its fill, since then.
_LEGS = """
SELECT o.cl_ord_id, o.strategy_id, o.symbol, o.side, o.order_qty - o.cum_qty, o.state, coalesce(o.text, ''),
       coalesce(o.done_at, o.intent_at), o.account_id, o.acked_at IS NOT NULL OR o.sent_at IS NOT NULL
FROM orders o
WHERE o.account_id = ANY(%(accounts)s) AND o.done_at >= %(since)s AND o.order_qty > o.cum_qty
  AND o.state IN ('rejected', 'unsent', 'absent', 'denied', 'expired', 'canceled')
  AND NOT EXISTS (SELECT FROM orders l WHERE l.order_id = o.order_id AND l.attempt > o.attempt)
ORDER BY o.done_at DESC LIMIT %(most)s"""
# Of those the ones that were the strategy's last word on the symbol, and that nobody took back: not the
# sender either, who said at the beginning when they end (cancelAfter).
_LAST_WORDS = """
SELECT o.cl_ord_id FROM orders o JOIN signals s USING (signal_id)
WHERE o.cl_ord_id = ANY(%s) AND o.role = 'main' AND o.state <> 'canceled' AND o.cancel_requested_at IS NULL
  AND o.intervention_id IS NULL AND s.origin = 'hook' AND NOT coalesce(o.done_at >= o.cancel_at, false)
  AND NOT EXISTS (SELECT FROM plans p JOIN signals n ON n.signal_id = p.signal_id
                  WHERE p.strategy_id = o.strategy_id AND p.planned_at > o.intent_at
                    AND n.ticker = s.ticker)
  AND NOT EXISTS (SELECT FROM orders n WHERE n.account_id = o.account_id AND n.strategy_id = o.strategy_id
                  AND n.symbol = o.symbol AND n.signal_id <> o.signal_id AND n.intent_at > o.intent_at)"""
_TOLD = "SELECT subject FROM drifts WHERE kind = 'shortfall' AND account_id = ANY(%s) AND subject = ANY(%s)"
_TRADED = "SELECT DISTINCT symbol FROM orders WHERE account_id = %s"
_CHANGED = """
SELECT r.kind, r.object_id, r.revision FROM revisions r
WHERE r.at > %(since)s AND r.revision > 1 AND (
      r.kind = 'account' AND r.object_id = %(account)s::text
   OR r.kind = 'group' AND r.object_id = (SELECT group_id::text FROM accounts WHERE account_id = %(account)s)
   OR r.kind = 'subscription' AND r.object_id IN
      (SELECT subscription_id::text FROM subscriptions WHERE account_id = %(account)s))
ORDER BY r.at LIMIT 20"""
_NAMES = "SELECT cl_ord_id FROM orders WHERE cl_ord_id = ANY(%s)"
_POLICY = """
SELECT a.on_drift, t.settings ->> 'on_drift', coalesce((t.settings ->> 'correct_manual_orders')::boolean, false)
FROM accounts a JOIN tenants t USING (tenant_id) WHERE a.account_id = %s"""
_DECIDE = """
INSERT INTO drift_decisions (tenant_id, decision_id, drift_id, part, decision, reason, by)
VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"""


class Standing(msgspec.Struct, frozen=True):
    """A drift that was found before: open, or set aside."""

    drift_id: UUID
    kind: Kind
    subject: str
    symbol: str | None
    ours: Decimal
    theirs: Decimal
    cause: Cause
    state: Literal["open", "explained"]

    @property
    def key(self) -> tuple[Kind, str]:
        return self.kind, self.subject


class Before(msgspec.Struct, frozen=True):
    """The last round's row."""

    state: State
    epoch: int
    agreed_at: datetime | None
    away_at: datetime | None
    baseline: Mapping[str, Decimal] = {}


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """Of one account, as the transaction sees it."""

    ours: Ours
    standing: tuple[Standing, ...] = ()
    before: Before | None = None

    @property
    def baseline(self) -> Mapping[str, Decimal]:
        """Spot: what of each asset is there and is not ours."""
        return {} if self.before is None else self.before.baseline

    @property
    def open(self) -> tuple[Standing, ...]:
        return tuple(one for one in self.standing if one.state == "open")

    @property
    def explained(self) -> tuple[Standing, ...]:
        return tuple(one for one in self.standing if one.state == "explained")

    @property
    def aside(self) -> Aside:
        held: dict[str, Decimal] = defaultdict(Decimal)
        for one in self.explained:
            if one.kind == "position":
                held[one.subject] += one.theirs - one.ours
        orders = frozenset(one.subject for one in self.explained if one.kind == "order")
        return Aside(positions={s: qty for s, qty in held.items() if qty}, orders=orders)

    def over(self, aside: Aside) -> list[UUID]:
        """What has ended where the two agree with `aside`: every open difference, and what is no longer aside."""
        return [
            one.drift_id
            for one in self.standing
            if one.kind != "shortfall"
            and (
                one.state == "open"
                or (one.kind == "position" and one.subject not in aside.positions)
                or (one.kind == "order" and one.subject not in aside.orders)
            )
        ]


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One account's row of `reconciliations`."""

    account_id: AccountID
    state: State
    at: datetime
    epoch: int
    baseline: Mapping[str, Decimal]
    why: str = ""
    agreed_at: datetime | None = None
    away_at: datetime | None = None


class EndedLeg(msgspec.Struct, frozen=True):
    """A leg without its fill, whose it is, and whether anything of it ever left."""

    leg: Leg
    account_id: AccountID
    left: bool


class Policy(msgspec.Struct, frozen=True):
    """`by_hand`: whether what somebody did by hand is put right as well."""

    on_drift: OnDrift
    by_hand: bool


async def read_books(
    conn: Connection, accounts: Sequence[AccountID], parts: Sequence[int]
) -> dict[AccountID, Book]:
    """Every account's, in one round trip."""
    wanted = list(accounts)
    async with conn.pipeline():
        positions = await conn.execute(_POSITIONS, (wanted,))
        orders = await conn.execute(_OPEN, (list(parts), wanted))
        standing = await conn.execute(_STANDING, (wanted,))
        before = await conn.execute(_BEFORE, (wanted,))
    held: dict[AccountID, dict[str, Decimal]] = defaultdict(dict)
    for account, symbol, qty in await positions.fetchall():
        if qty:
            held[account][symbol] = qty
    resting: dict[AccountID, list[OpenOrder]] = defaultdict(list)
    for account, name, symbol, state, cum in await orders.fetchall():
        resting[account].append(OpenOrder(name, symbol, OrdState(state), cum))
    found: dict[AccountID, list[Standing]] = defaultdict(list)
    for account, *rest in await standing.fetchall():
        found[account].append(Standing(*rest))
    rounds = {
        row[0]: Before(row[1], row[2], row[3], row[4], {a: Decimal(t) for a, t in row[5].items()})
        for row in await before.fetchall()
    }
    return {
        account: Book(
            ours=Ours(positions=held[account], open=tuple(resting[account])),
            standing=tuple(found[account]),
            before=rounds.get(account),
        )
        for account in wanted
    }


async def keep(conn: Connection, tenant: TenantID, rounds: Sequence[Round]) -> None:
    """Sorted: two workers that change places cannot wait for each other."""
    rows = [
        (
            tenant, r.account_id, r.state, r.why[:500], r.at, r.epoch, r.agreed_at, r.away_at,
            msgspec.json.encode(r.baseline).decode(),
        )
        for r in sorted(rounds, key=lambda one: one.account_id)
    ]  # fmt: skip
    if rows:
        await conn.execute(_KEEP, [list(column) for column in zip(*rows, strict=True)])


async def find(
    conn: Connection, tenant: TenantID, account: AccountID, part: int, drift: UUID,
    difference: Difference, named: Named, at: datetime,
) -> bool:  # fmt: skip
    """Keep a drift; False where one of that subject is open already."""
    values = (
        tenant, drift, account, part, difference.kind, difference.subject, difference.symbol,
        difference.ours, difference.theirs, named.cause, Json(named.evidence), at,
    )  # fmt: skip
    return (await (await conn.execute(_FIND, values)).fetchone()) is not None


async def move(conn: Connection, drift: UUID, difference: Difference, named: Named) -> None:
    """The same subject differs by another amount now."""
    values = (difference.ours, difference.theirs, named.cause, Json(named.evidence), drift)
    await conn.execute(_MOVE, values)


async def close(
    conn: Connection, drifts: Sequence[UUID], at: datetime
) -> list[tuple[UUID, AccountID, Kind, str]]:
    """Those that were not over: nothing differs there any more."""
    if not drifts:
        return []
    return [tuple(row) for row in await (await conn.execute(_CLOSE, (at, list(drifts)))).fetchall()]


async def legs(
    conn: Connection, accounts: Sequence[AccountID], since: datetime, most: int = LEGS_MOST
) -> list[EndedLeg]:
    """Legs that ended without their fill since then, the last attempt of each, the newest first."""
    asked = {"accounts": list(accounts), "since": since, "most": most}
    return [
        EndedLeg(
            Leg(
                cl_ord_id=row[0], strategy_id=StrategyID(row[1]), symbol=row[2], side=row[3],
                leaves=row[4], state=OrdState(row[5]), text=row[6], at=row[7],
            ),
            AccountID(row[8]), row[9],
        )
        for row in await (await conn.execute(_LEGS, asked)).fetchall()
    ]  # fmt: skip


async def last_words(conn: Connection, names: Sequence[str]) -> set[str]:
    """Those of the legs after which the strategy said nothing of the symbol any more."""
    if not names:
        return set()
    return {row[0] for row in await (await conn.execute(_LAST_WORDS, (list(names),))).fetchall()}


async def told(conn: Connection, accounts: Sequence[AccountID], names: Sequence[str]) -> set[str]:
    """Those of the legs whose shortfall was found before, whatever became of it."""
    if not names:
        return set()
    cursor = await conn.execute(_TOLD, (list(accounts), list(names)))
    return {row[0] for row in await cursor.fetchall()}


async def traded(conn: Connection, account: AccountID) -> frozenset[str]:
    """Symbols in which we ever had an order there."""
    return frozenset(row[0] for row in await (await conn.execute(_TRADED, (account,))).fetchall())


async def changed(conn: Connection, account: AccountID, since: datetime) -> tuple[str, ...]:
    """What was set up anew since then of the account, its group and its subscriptions."""
    values = {"account": account, "since": since}
    rows = await (await conn.execute(_CHANGED, values)).fetchall()
    return tuple(f"{kind} {name} revision {revision}" for kind, name, revision in rows)


async def foreign(conn: Connection, fills: Sequence[BrokerFill]) -> tuple[BrokerFill, ...]:
    """Those of the trades that no order of ours made."""
    names = [fill.cl_ord_id for fill in fills if fill.cl_ord_id is not None]
    rows = await (await conn.execute(_NAMES, (names,))).fetchall() if names else []
    ours = {row[0] for row in rows}
    return tuple(fill for fill in fills if fill.cl_ord_id not in ours)


async def policy(conn: Connection, account: AccountID) -> Policy:
    """The account's own word, else the tenant's, else the product's: report."""
    row = await (await conn.execute(_POLICY, (account,))).fetchone()
    if row is None:
        return Policy("report", False)
    return Policy(row[0] or row[1] or "report", row[2])


async def decide(
    conn: Connection, tenant: TenantID, decision: UUID, drift: UUID, part: int,
    what: PolicyDecision, reason: str, by: Actor,
) -> None:  # fmt: skip
    """A policy's decision, kept as a person's is; none where one waits to be carried out already."""
    values = (tenant, decision, drift, part, what, reason, Json(msgspec.to_builtins(by)))
    await conn.execute(_DECIDE, values)
