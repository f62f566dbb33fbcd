"""Signals, plans, orders, fills and audit records of a tenant, written straight into a real database."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from audit.merkle import leaf_hash
from audit.record import Kind, compose
from fanout.order import OrdState, order_id
from tenancy.ids import new_id
from tenancy.values import AccountID, SignalID

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TRACEPARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
SECRET = "5ec2e7" * 10
"""Stands in every payload under `k_rec`, and must never come out."""


class Signalled(msgspec.Struct, frozen=True):
    """A signal as written."""

    signal_id: UUID
    strategy_id: UUID
    ticker: str
    at: datetime
    state: str


class Ordered(msgspec.Struct, frozen=True):
    """An order as written, with its signal."""

    signal: Signalled
    cl_ord_id: str
    account_id: UUID
    symbol: str
    state: str
    leg: int

    @property
    def key(self) -> tuple[Any, ...]:
        return (self.signal.signal_id, self.account_id, self.leg, 1)


class Market(msgspec.Struct):
    """A tenant that trades: what there is to filter by, and what was written."""

    tenant_id: UUID
    strategies: list[UUID]
    accounts: list[UUID]
    tickers: tuple[str, ...] = ("BTC", "ETH", "XRP")
    signals: list[Signalled] = []
    orders: list[Ordered] = []


def open_market(conn: psycopg.Connection, tenant: UUID, *, accounts: int = 4) -> Market:
    """Two strategies and some accounts of that tenant."""
    market = Market(tenant, [new_id(), new_id()], [new_id() for _ in range(accounts)])
    for number, strategy in enumerate(market.strategies):
        conn.execute(
            "INSERT INTO strategies (strategy_id, tenant_id, name, part) VALUES (%s, %s, %s, 0)",
            (strategy, tenant, f"market {number}"),
        )
    for number, account in enumerate(market.accounts):
        conn.execute(
            "INSERT INTO accounts (account_id, tenant_id, name, broker, currency, part)"
            " VALUES (%s, %s, %s, 'paper', 'USDT', 0)",
            (account, tenant, f"market {number}"),
        )
    return market


def id_at(at: datetime, chance: random.Random) -> UUID:
    """A UUIDv7 of that time."""
    ms = int(at.timestamp() * 1000)
    return UUID(
        int=ms << 80 | 7 << 76 | chance.getrandbits(12) << 64 | 2 << 62 | chance.getrandbits(62)
    )


def add_signal(
    conn: psycopg.Connection, market: Market, chance: random.Random, *, at: datetime | None = None
) -> Signalled:
    """One more signal, with an order at some of the accounts, some of them with a fill."""
    at = at or BEGIN + timedelta(minutes=len(market.signals))
    signal = Signalled(
        id_at(at, chance),
        chance.choice(market.strategies),
        chance.choice(market.tickers),
        at,
        chance.choice(["planned", "planned", "planned", "refused", "accepted"]),
    )
    conn.execute(
        "INSERT INTO signals (signal_id, tenant_id, strategy_id, hook_id, message_id, part, body, body_sha256,"
        " traceparent, received_at, state, ticker) VALUES (%s, %s, %s, 'h', %s, 0, %s, %s, %s, %s, %s, %s)",
        (
            signal.signal_id, market.tenant_id, signal.strategy_id, str(signal.signal_id), b"{}", bytes(32),
            TRACEPARENT, at, signal.state, signal.ticker,
        ),
    )  # fmt: skip
    market.signals.append(signal)
    for account in chance.sample(market.accounts, chance.randrange(len(market.accounts) + 1)):
        for leg in range(chance.choice([1, 1, 1, 2])):
            _add_order(conn, market, signal, account, leg, chance)
    return signal


def _add_order(
    conn: psycopg.Connection, market: Market, signal: Signalled, account: UUID, leg: int,
    chance: random.Random,
) -> None:  # fmt: skip
    states = ["filled"] * 6 + ["rejected", "canceled", "in_doubt", "new"]
    name = order_id(SignalID(signal.signal_id), AccountID(account), leg)
    order = Ordered(
        signal,
        f"{name}.1",
        account,
        f"{signal.ticker}_{chance.choice('AB')}",
        chance.choice(states),
        leg,
    )
    conn.execute(
        "INSERT INTO orders (cl_ord_id, order_id, tenant_id, signal_id, strategy_id, account_id, part, leg,"
        " attempt, place, broker, symbol, side, order_qty, ord_type, price, time_in_force, deadline, state,"
        " epoch, intent_at, traceparent, cum_qty) VALUES (%s, %s, %s, %s, %s, %s, 0, %s, 1, 0, 'paper', %s,"
        " 'buy', 2, 'limit', %s, 'gtc', %s, %s, 1, %s, %s, %s)",
        (
            order.cl_ord_id, name, market.tenant_id, signal.signal_id, signal.strategy_id, account, leg,
            order.symbol, Decimal("0.10"), signal.at, order.state, signal.at, TRACEPARENT,
            2 if order.state == "filled" else 0,
        ),
    )  # fmt: skip
    if order.state == OrdState.FILLED:
        for part in (1, 2):
            conn.execute(
                "INSERT INTO execution_reports (exec_id, cl_ord_id, tenant_id, account_id, exec_type, ord_status,"
                " last_qty, last_px, cum_qty, at) VALUES (%s, %s, %s, %s, 'trade', %s, 1, 0.1, %s, %s)",
                (
                    f"{order.cl_ord_id}:{part}", order.cl_ord_id, market.tenant_id, account,
                    "partially_filled" if part == 1 else "filled", part,
                    signal.at + timedelta(seconds=chance.randrange(600)),
                ),
            )  # fmt: skip
    market.orders.append(order)


def open_log(conn: psycopg.Connection, tenant: UUID) -> UUID:
    """An audit log of that tenant, empty."""
    log_id = new_id()
    conn.execute(
        "INSERT INTO audit_logs (log_id, tenant_id, origin, key_label, public_key) VALUES (%s, %s, %s, 'k', %s)",
        (log_id, tenant, f"log.invalid/{log_id}", bytes(32)),
    )
    return log_id


def add_records(
    conn: psycopg.Connection, tenant: UUID, log_id: UUID, first: int,
    records: Sequence[tuple[Kind, dict[str, Any]]],
) -> int:  # fmt: skip
    """Leaves with their payloads from index `first` on, as the recorder writes them; the log's new length."""
    for index, (kind, payload) in enumerate(records, start=first):
        leaf = compose(
            log=f"log.invalid/{log_id}", index=index, ts_ns=1, rt_ns=1, clock={"err": None}, kind=kind.value,
            actor={"id": "x", "kind": "sys"}, retention="trade", commitment=bytes(32),
            oid=f"o{index}" if kind.value.startswith("order.") else None, on=1,
        )  # fmt: skip
        conn.execute(
            "INSERT INTO audit_leaves (log_id, i, tenant_id, oid, leaf, leaf_hash)"
            " VALUES (%s, %s, %s, NULL, %s, %s)",
            (log_id, index, tenant, leaf, leaf_hash(leaf)),
        )
        conn.execute(
            "INSERT INTO audit_payloads (log_id, i, tenant_id, payload) VALUES (%s, %s, %s, %s)",
            (log_id, index, tenant, msgspec.json.encode({**payload, "k_rec": SECRET})),
        )
    return first + len(records)
