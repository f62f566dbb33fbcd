"""When nothing is left to do: every signal planned, every order ended and told, every record in a signed log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg

from tenancy.errors import Unavailable

POLL_S = 0.25
_LEFT = """
SELECT (SELECT count(*) FROM signals WHERE state = 'accepted'),
       (SELECT count(*) FROM plan_parts),
       (SELECT count(*) FROM orders
        WHERE state IN ('waiting', 'intent', 'in_doubt', 'new', 'partially_filled')),
       (SELECT count(*) FROM signal_outcomes WHERE done_at IS NULL),
       (SELECT count(*) FROM interventions WHERE state = 'working'),
       (SELECT count(*) FROM drifts WHERE state = 'open'),
       (SELECT count(*) FROM audit_inbox),
       (SELECT count(*) FROM audit_logs l WHERE l.kind = 'records' AND
          (SELECT count(*) FROM audit_leaves v WHERE v.log_id = l.log_id)
          <> coalesce((SELECT max(size) FROM audit_checkpoints c WHERE c.log_id = l.log_id), 0))"""
NAMES = (
    "signals without a plan",
    "parts of plans without intents",
    "orders not at their end",
    "outcomes that were not told",
    "uses of the kill switch that go on",
    "drifts that are open",
    "audit records in the inbox",
    "logs without a checkpoint of all",
)


async def settled(conninfo: str, within_s: float, say: Callable[[str], None]) -> None:
    """Until all of it is 0, twice in a row. Raises Unavailable, naming what is left."""
    loop = asyncio.get_running_loop()
    begun, quiet, told = loop.time(), 0, 0.0
    left: list[str] = ["PostgreSQL does not answer"]
    while quiet < 2:
        if loop.time() - begun > within_s:
            raise Unavailable(f"not settled after {within_s:g} s: {', '.join(left)}")
        try:
            async with await psycopg.AsyncConnection.connect(conninfo) as conn:
                row = await (await conn.execute(_LEFT)).fetchone()
            assert row is not None
            left = [f"{n} {name}" for n, name in zip(row, NAMES, strict=True) if n]
        except psycopg.OperationalError:
            left = ["PostgreSQL does not answer"]
        quiet = 0 if left else quiet + 1
        if left and loop.time() - told > 2.0:
            told = loop.time()
            say(f"waiting: {', '.join(left)}")
        await asyncio.sleep(POLL_S)
