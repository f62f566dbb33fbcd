"""A history of N orders in a fresh database: four tenants of very unequal size, skewed symbols, realistic states.

Rows are made by the server, in the order in which they would have come, by INSERT … SELECT of a superuser
with triggers off and the secondary indexes built afterwards. Two things are kinder than life and said so:
rows arrive in their final state, so the heap has no dead versions; and each order has one report, its fill.

Rare things are hidden in the largest tenant, whose rows are most: a symbol, an account, a strategy, a ticker
and a state of which there is a handful each, spread over the whole history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg import sql

Say = Callable[[str], None]

FAN_OUT = 20
"""Orders of one signal."""
CHUNK = 500_000
SHARES = (70, 20, 9, 1)
"""Of a hundred orders, how many each tenant has."""
ACCOUNTS, STRATEGIES, SYMBOLS, DAYS = 500, 10, 200, 180
BEGIN_MS = 1_750_000_000_000
RARE = "RARE_USDT"
RARE_EVERY = 5
"""A rare thing happens so many times in the whole history, however long that is."""

_LOADED = ("signals", "orders", "execution_reports", "positions", "balances")

_HELPERS = """
CREATE SCHEMA IF NOT EXISTS bench;
-- A UUIDv7 of that Unix millisecond; `salt` in place of chance.
CREATE OR REPLACE FUNCTION bench.v7(ms bigint, salt text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(ms), 12, '0') || '7' || left(h, 3) || '8' || substr(h, 4, 15))::uuid
    FROM (SELECT md5(salt) AS h) AS x $$;
-- The tenant of the n-th signal, from 0.
CREATE OR REPLACE FUNCTION bench.tenant_of(n bigint) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN x < 70 THEN 0 WHEN x < 90 THEN 1 WHEN x < 99 THEN 2 ELSE 3 END
    FROM (SELECT (n * 37) % 100 AS x) AS y $$;
CREATE OR REPLACE FUNCTION bench.account(t integer, a integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT bench.v7(1700000000000, 'account' || t || ':' || a) $$;
CREATE OR REPLACE FUNCTION bench.strategy(t integer, s integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT bench.v7(1700000000000, 'strategy' || t || ':' || s) $$;
CREATE OR REPLACE FUNCTION bench.tenant(t integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT bench.v7(1700000000000, 'tenant' || t) $$;
"""

_CAST = """
INSERT INTO tenants (tenant_id, name) SELECT bench.tenant(t), 'bench-' || t FROM generate_series(0, 3) AS t;
INSERT INTO strategies (strategy_id, tenant_id, name, part)
    SELECT bench.strategy(t, s), bench.tenant(t), 's' || s, 0
    FROM generate_series(0, 3) AS t, generate_series(0, {strategies}) AS s;
INSERT INTO accounts (account_id, tenant_id, name, broker, currency, part)
    SELECT bench.account(t, a), bench.tenant(t), 'a' || a, 'paper', 'USDT', 0
    FROM generate_series(0, 3) AS t, generate_series(0, {accounts}) AS a;
INSERT INTO positions (account_id, strategy_id, symbol, tenant_id, qty, avg_px, updated_at)
    SELECT bench.account(t, a), bench.strategy(t, s), 'S' || s || '_USDT', bench.tenant(t), a % 7, 100, now()
    FROM generate_series(0, 3) AS t, generate_series(0, {accounts}) AS a, generate_series(0, 9) AS s;
INSERT INTO balances (account_id, tenant_id, equity, available, currency, as_of)
    SELECT bench.account(t, a), bench.tenant(t), 1000, 900, 'USDT', now()
    FROM generate_series(0, 3) AS t, generate_series(0, {accounts}) AS a;
"""

# n: the signal's number; rare: whether it is one of the five. A symbol's rank is skewed by a square.
_SIGNALS = """
INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part, body, body_sha256,
                     traceparent, received_at, state, ticker)
SELECT bench.v7(ms, 'signal' || n), bench.tenant(t), bench.strategy(t, strategy), 'bench-hook-' || t,
       'm' || n, 0, convert_to('{{"ticker":"' || ticker || '","action":"buy","quantity":2}}', 'UTF8'),
       decode(md5(n::text) || md5(n::text), 'hex'), '00-' || md5('t' || n) || '-00f067aa0ba902b7-01',
       to_timestamp(ms / 1000.0), CASE WHEN n % {rare_step} = 7 THEN 'refused' ELSE 'planned' END, ticker
FROM (SELECT n, CASE WHEN rare THEN 0 ELSE bench.tenant_of(n) END AS t,
             {begin_ms} + n * {step_ms} AS ms,
             CASE WHEN rare THEN {strategies} ELSE (n / 3 % {strategies})::integer END AS strategy,
             CASE WHEN rare THEN '{rare}' ELSE 'S' || floor({symbols} * power(
                 ('x' || left(md5('k' || n), 7))::bit(28)::integer / 268435456.0, 2)) || '_USDT' END AS ticker
      FROM (SELECT n, n % {rare_step} = 3 AS rare FROM generate_series({first}::bigint, {last}) AS n) AS x) AS y
"""
# Each signal trades FAN_OUT accounts, a stretch that wanders round the tenant's; the rare one also its last.
_ORDERS = """
INSERT INTO orders (cl_ord_id, order_id, tenant_id, signal_id, strategy_id, account_id, part, leg, attempt, place,
                    broker, symbol, side, order_qty, ord_type, price, time_in_force, deadline, state, epoch,
                    broker_order_id, cum_qty, avg_px, intent_at, sent_at, acked_at, done_at, traceparent)
SELECT oid || '.1', oid, s.tenant_id, s.signal_id, s.strategy_id,
       CASE WHEN s.ticker = '{rare}' AND p = 0 THEN bench.account(0, {accounts})
            ELSE bench.account(t, ((n * 7 + p) % {accounts})::integer) END, 0, 0, 1, p, 'paper',
       s.ticker, CASE WHEN n % 2 = 0 THEN 'buy' ELSE 'sell' END, 2, 'limit', 100.5, 'gtc',
       s.received_at + interval '30 s', became, 1, 'b' || oid, CASE WHEN became = 'filled' THEN 2 ELSE 0 END,
       CASE WHEN became = 'filled' THEN 100.5 END, s.received_at + interval '20 ms',
       s.received_at + interval '21 ms', s.received_at + interval '40 ms',
       s.received_at + interval '60 ms', s.traceparent
FROM (SELECT s.*, substr(s.message_id, 2)::bigint AS n, p,
             CASE WHEN s.ticker = '{rare}' THEN 0 ELSE bench.tenant_of(substr(s.message_id, 2)::bigint) END AS t,
             left(md5(s.message_id || '/' || p), 24) AS oid,
             CASE WHEN s.ticker = '{rare}' AND p = 1 THEN 'in_doubt'
                  WHEN h < 930 THEN 'filled' WHEN h < 970 THEN 'canceled' WHEN h < 982 THEN 'expired'
                  WHEN h < 994 THEN 'rejected' WHEN h < 997 THEN 'denied' ELSE 'unsent' END AS became
      FROM signals s, generate_series(0, {fan_out} - 1) AS p,
           LATERAL (SELECT ('x' || left(md5('h' || s.message_id || p), 6))::bit(24)::integer % 1000 AS h) AS q
      WHERE s.signal_id >= '{low}' AND s.signal_id < '{high}'
      ORDER BY s.signal_id, p) AS s
"""
_FILLS = """
INSERT INTO execution_reports (exec_id, cl_ord_id, tenant_id, account_id, exec_type, ord_status, last_qty,
                               last_px, cum_qty, at)
SELECT o.cl_ord_id || ':2:filled', o.cl_ord_id, o.tenant_id, o.account_id, 'trade', 'filled', 2, 100.5, 2,
       o.done_at
FROM orders o JOIN signals s USING (signal_id)
WHERE s.signal_id >= '{low}' AND s.signal_id < '{high}' AND o.state = 'filled'
ORDER BY o.done_at
"""


class History(msgspec.Struct, frozen=True):
    """What was made, by the names that the questions need. All are the largest tenant's."""

    tenant_id: UUID
    rare_account: UUID
    rare_strategy: UUID
    rare_symbol: str
    signal: UUID


def make_history(superuser: str, orders: int, say: Say) -> History:
    """Fill an empty, migrated database. Takes about a minute for each million."""
    signals = max(100, orders // FAN_OUT)
    chosen = {
        "rare": RARE, "fan_out": FAN_OUT, "accounts": ACCOUNTS, "strategies": STRATEGIES,
        "symbols": SYMBOLS, "begin_ms": BEGIN_MS, "step_ms": DAYS * 86_400_000 // signals,
        "rare_step": max(10, signals // RARE_EVERY),
    }  # fmt: skip
    with psycopg.connect(superuser, autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("SET maintenance_work_mem = '512MB'")
        conn.execute("SET work_mem = '256MB'")
        conn.execute(_HELPERS)
        conn.execute(_CAST.format(**chosen).encode())
        rebuilt = _drop_indexes(conn)
        step = CHUNK // FAN_OUT
        for first in range(0, signals, step):
            bounds = {**chosen, **_stretch(first, min(first + step, signals), chosen)}
            for statement in (_SIGNALS, _ORDERS, _FILLS):
                conn.execute(statement.format(**bounds).encode())
            say(f"pages: {(bounds['last'] + 1) * FAN_OUT:,} orders")
        for definition in rebuilt:
            conn.execute(definition.encode())
        say("pages: indexes built")
        for table in _LOADED:
            conn.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
        conn.execute("CHECKPOINT")
        return _history(conn)


def _stretch(first: int, end: int, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Signals `first` to `end` - 1, by number and by where their ids lie."""
    low, high = (UUID(int=(chosen["begin_ms"] + n * chosen["step_ms"]) << 80) for n in (first, end))
    return {"first": first, "last": end - 1, "low": low, "high": high}


def _drop_indexes(conn: psycopg.Connection) -> list[str]:
    """Drop what is no constraint's; the statements that build it again. The keys' own stay."""
    rows = conn.execute(
        "SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE i.indrelid = ANY(%s::regclass[]) AND NOT EXISTS"
        " (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u'))"
        " AND c.relname NOT LIKE 'signals%%'",
        (list(_LOADED),),
    ).fetchall()
    for name, _ in rows:
        conn.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    return [definition for _, definition in rows]


def ids(kind: str, number: int, tenant: int = 0) -> UUID:
    """An account or a strategy of a tenant, as bench.v7() names it."""
    return _v7(f"{kind}{tenant}:{number}")


def tenant_id(number: int) -> UUID:
    """A tenant, from the largest, 0."""
    return _v7(f"tenant{number}")


def _v7(salt: str) -> UUID:
    digest = hashlib.md5(salt.encode(), usedforsecurity=False).hexdigest()
    return UUID(f"{1_700_000_000_000:012x}7{digest[:3]}8{digest[3:18]}")


def _history(conn: psycopg.Connection) -> History:
    row = conn.execute(
        "SELECT tenant_id, signal_id FROM signals WHERE tenant_id = bench.tenant(0)"
        " ORDER BY signal_id DESC OFFSET 50 LIMIT 1"
    ).fetchone()
    assert row is not None
    return History(row[0], ids("account", ACCOUNTS), ids("strategy", STRATEGIES), RARE, row[1])
