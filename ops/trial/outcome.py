"""What became of signals: read from the rows, as the tenant's own administrator sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from fanout.plan import Plan
from tenancy.database import Database
from tenancy.errors import Unavailable
from tenancy.scope import TenantScope
from tenancy.values import AccountID

POLL_S = 0.05


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `orders`."""

    cl_ord_id: str
    order_id: str
    signal_id: UUID
    account_id: AccountID
    leg: int
    place: int
    broker: str
    side: str
    order_qty: Decimal
    symbol: str
    state: str
    cum_qty: Decimal
    avg_px: Decimal | None
    text: str | None
    intent_at: datetime
    sent_at: datetime | None
    acked_at: datetime | None
    done_at: datetime | None


class Story(msgspec.Struct, frozen=True):
    """One signal from receipt to the end."""

    received_at: datetime
    plan: Plan
    attempts: tuple[Attempt, ...]


_OPEN = "('waiting', 'intent', 'in_doubt', 'new', 'partially_filled')"
# Orders are counted against the plan's legs, not looked for one by one: their names are derived
# from the plan, so as many are the same ones.
_SETTLED = f"""
SELECT count(*) FILTER (WHERE s.state = 'accepted')
     + (SELECT count(*) FROM orders o WHERE o.signal_id = ANY(%(ids)s)
        AND o.state IN {_OPEN})
     + count(*) FILTER (WHERE s.state = 'planned' AND
           (SELECT coalesce(sum(json_array_length(g->'legs') * json_array_length(g->'place')), 0)
            FROM json_array_elements(p.plan->'groups') g WHERE g->'legs' IS NOT NULL)
           > (SELECT count(DISTINCT (o.account_id, o.leg)) FROM orders o
              WHERE o.signal_id = s.signal_id))
FROM signals s LEFT JOIN plans p USING (signal_id) WHERE s.signal_id = ANY(%(ids)s)"""  # noqa: S608 - constants only

_UNFINISHED = f"""
SELECT cl_ord_id, state, text FROM orders WHERE signal_id = ANY(%(ids)s)
   AND state IN {_OPEN}
UNION ALL SELECT signal_id::text, state, NULL FROM signals
 WHERE signal_id = ANY(%(ids)s) AND state = 'accepted' LIMIT 5"""  # noqa: S608 - constants only


async def settled(
    database: Database, scope: TenantScope, signals: Iterable[str], *, within_s: float
) -> None:
    """Until every signal is planned and none of its orders is open. Raises Unavailable."""
    ids = [UUID(signal) for signal in signals]
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        try:
            async with database.tenant(scope) as conn:
                row = await (await conn.execute(_SETTLED, {"ids": ids})).fetchone()
            left = row[0] if row else 0
        except Unavailable:
            left = -1
        if left == 0:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise Unavailable(
                f"after {within_s:g} s {left} signals or orders are not finished"
                f"{await _unfinished(database, scope, ids)}"
            )
        await asyncio.sleep(POLL_S)


async def _unfinished(database: Database, scope: TenantScope, ids: Sequence[UUID]) -> str:
    """What the first of them wait for, for whoever reads the error."""
    try:
        async with database.tenant(scope) as conn:
            cursor = await conn.execute(_UNFINISHED, {"ids": ids})
            rows = await cursor.fetchall()
    except Unavailable as error:
        return f" (and not to be read: {error})"
    return "".join(f"; {name}: {state}, {text or 'no word of why'}" for name, state, text in rows)


async def story(database: Database, scope: TenantScope, signal: str) -> Story:
    """Everything about one signal."""
    fields = Attempt.__struct_fields__
    async with database.tenant(scope) as conn:
        head = await (
            await conn.execute(
                "SELECT s.received_at, p.plan::text FROM signals s JOIN plans p USING (signal_id)"
                " WHERE s.signal_id = %s",
                (signal,),
            )
        ).fetchone()
        rows: Sequence[tuple[object, ...]] = await (
            await conn.execute(
                f"SELECT {', '.join(fields)} FROM orders WHERE signal_id = %s"  # noqa: S608 - constants
                " ORDER BY place, leg, attempt",
                (signal,),
            )
        ).fetchall()
    if head is None:
        raise Unavailable(f"signal {signal} has no plan yet")
    attempts = tuple(msgspec.convert(dict(zip(fields, row, strict=True)), Attempt) for row in rows)
    return Story(head[0], msgspec.json.decode(head[1], type=Plan), attempts)
