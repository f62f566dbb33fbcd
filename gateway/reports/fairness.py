"""Fairness: whether one client's orders go out earlier, fill sooner or at better prices than the others'.

Everything is a difference from the same signal's other accounts, so that fast and slow markets, small and
large fan-outs can be added up:

    place   among the accounts that traded the signal (gateway/reports/statistics.py)
    send    from the plan to the first order on the wire, less the signal's mean; milliseconds
    fill    from the plan to the whole fill as we learned it, less the mean of those that filled whole
    price   the average price against that of all fills of the signal in the same symbol on the same side at the
            same broker, weighted by quantity; basis points, positive is worse for the client

Signals in which an account is alone say nothing of fairness and do not count. Nor do accounts whose person
was asked for a yes: their time is that person's.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import dict_row

from gateway.reports.period import Orders, Period, bounded, orders_of
from gateway.reports.statistics import Estimate, PlaceEstimate, estimate, place
from tenancy.database import Connection


class AccountFairness(msgspec.Struct, frozen=True, kw_only=True):
    """One account against the others of its signals. Means with their 95 % intervals."""

    account_id: UUID
    name: str
    place: PlaceEstimate
    send_ms: Estimate
    fill_ms: Estimate
    price_bps: Estimate


class Fairness(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy's accounts in a period.

    `outside`: accounts whose mean place lies outside of what chance alone keeps to; `outside_expected`: how
    many of so many accounts would by chance.
    """

    strategy_id: UUID
    strategy: str
    since: datetime
    until: datetime
    orders: int
    signals: int
    outside: int
    outside_expected: float
    accounts: list[AccountFairness]


_SQL = """
WITH traded AS (
    SELECT o.signal_id, o.account_id, o.broker, o.symbol, o.side, min(o.place) AS place,
           min(o.sent_at) AS sent_at,
           max(o.done_at) FILTER (WHERE o.leg = 0 AND o.state = 'filled') AS filled_at,
           sum(o.cum_qty) FILTER (WHERE o.avg_px IS NOT NULL) AS qty, sum(o.cum_qty * o.avg_px) AS paid
    FROM {orders} AND NOT EXISTS (SELECT FROM signal_approvals q
                                  WHERE q.signal_id = o.signal_id AND q.account_id = o.account_id)
    GROUP BY 1, 2, 3, 4, 5
), timed AS (
    SELECT t.*, extract(epoch FROM t.sent_at - p.planned_at)::float8 * 1000 AS send,
           extract(epoch FROM t.filled_at - p.planned_at)::float8 * 1000 AS fill,
           row_number() OVER (PARTITION BY t.signal_id ORDER BY t.place, t.account_id) - 1 AS r,
           count(*) OVER (PARTITION BY t.signal_id)::float8 AS m,
           sum(paid) OVER alike / nullif(sum(qty) OVER alike, 0) AS mean_px,
           count(*) FILTER (WHERE qty > 0) OVER alike AS priced
    FROM traded t JOIN plans p USING (signal_id)
    WINDOW alike AS (PARTITION BY t.signal_id, t.broker, t.symbol, t.side)
), compared AS (
    SELECT signal_id, account_id, m, (r + 0.5) / m AS place, (m * m - 1) / (12 * m * m) AS variance,
           (r < ceil(m / 10))::int AS first, (r >= m - ceil(m / 10))::int AS last, ceil(m / 10) / m AS tenth,
           CASE WHEN count(send) OVER signal > 1 THEN send - avg(send) OVER signal END AS send,
           CASE WHEN count(fill) OVER signal > 1 THEN fill - avg(fill) OVER signal END AS fill,
           CASE WHEN priced > 1 AND qty > 0 AND mean_px > 0 THEN
               (CASE side WHEN 'buy' THEN paid / qty - mean_px ELSE mean_px - paid / qty END
                / mean_px * 10000)::float8 END AS price
    FROM timed WHERE m > 1 WINDOW signal AS (PARTITION BY signal_id)
)
SELECT account_id, (SELECT name FROM accounts a WHERE a.account_id = c.account_id) AS name, count(*) AS n,
       avg(place)::float8 AS place, sum(variance)::float8 AS variance, avg(first)::float8 AS first,
       avg(last)::float8 AS last, avg(tenth)::float8 AS tenth,
       count(send) AS send_n, avg(send) AS send, stddev_samp(send) AS send_sd,
       count(fill) AS fill_n, avg(fill) AS fill, stddev_samp(fill) AS fill_sd,
       count(price) AS price_n, avg(price) AS price, stddev_samp(price) AS price_sd
FROM compared c GROUP BY account_id ORDER BY name, account_id"""
_SIGNALS = "SELECT count(DISTINCT o.signal_id) FROM {orders}"
BY_CHANCE = 0.05


async def fairness(conn: Connection, strategy_id: UUID, strategy: str, within: Period) -> Fairness:
    """The report. Raises Malformed where there are too many orders."""
    orders = orders_of(within, strategy_id=strategy_id, account_id=None)
    count = await bounded(conn, orders)
    cursor = conn.cursor(row_factory=dict_row)
    await cursor.execute(_query(_SQL, orders), orders.values, prepare=False)
    accounts = [_account(row) for row in await cursor.fetchall()]
    row = await (await conn.execute(_query(_SIGNALS, orders), orders.values)).fetchone()
    assert row is not None
    return Fairness(
        strategy_id=strategy_id,
        strategy=strategy,
        since=within.since,
        until=within.until,
        orders=count,
        signals=row[0],
        outside=sum(one.place.standing != "as_expected" for one in accounts),
        outside_expected=round(BY_CHANCE * len(accounts), 1),
        accounts=accounts,
    )


def _query(sql: str, orders: Orders) -> bytes:
    return sql.replace("{orders}", orders.sql).encode()


def _account(row: dict[str, Any]) -> AccountFairness:
    return AccountFairness(
        account_id=row["account_id"],
        name=row["name"],
        place=place(
            row["n"], row["place"], row["variance"],
            first=row["first"], first_expected=row["tenth"],
            last=row["last"], last_expected=row["tenth"],
        ),
        send_ms=estimate(row["send_n"], row["send"], row["send_sd"]),
        fill_ms=estimate(row["fill_n"], row["fill"], row["fill_sd"]),
        price_bps=estimate(row["price_n"], row["price"], row["price_sd"]),
    )  # fmt: skip
