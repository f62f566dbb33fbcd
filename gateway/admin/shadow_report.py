"""A live subscription's fills beside its shadow's: signal by signal, and what they come to.

One row for each signal, symbol, side and role (`main`, or the `stop` or `target` behind a position).
Quantities are filled lots, prices averages over them. `worse_bps` is how much worse the live price
was than the paper one, in hundredths of a percent of it, for both sides: bought dearer or sold
cheaper is positive. The time to fill counts from the plan to the moment at which we learned of
the last fill of an order that filled whole.

Means are of the rows that have the number, each row alike, and say how many (`n`). Of different
symbols lots are not added up.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID

import msgspec

from fanout.slippage import slippage_bps
from gateway.admin.listing import first_id
from tenancy.database import Connection
from tenancy.errors import Invalid
from tenancy.values import plain

ROWS_MOST = 10_000
PERIOD_MOST = timedelta(days=366)
USUAL = timedelta(days=30)

# A retry of an order has the same quantity: ordered counts first attempts, filled counts all.
_ROWS = """
SELECT o.signal_id, s.ticker, s.received_at, o.symbol, o.side, o.role, o.account_id,
       sum(o.order_qty) FILTER (WHERE o.attempt = 1), sum(o.cum_qty),
       sum(o.cum_qty * o.avg_px) / nullif(sum(o.cum_qty) FILTER (WHERE o.avg_px IS NOT NULL), 0),
       max(o.done_at) FILTER (WHERE o.state = 'filled') - p.planned_at
FROM orders o JOIN signals s USING (signal_id) JOIN plans p USING (signal_id)
WHERE o.strategy_id = %(strategy)s AND o.account_id = ANY(%(accounts)s::uuid[])
  AND o.signal_id >= %(low)s AND o.signal_id < %(high)s
GROUP BY o.signal_id, s.ticker, s.received_at, o.symbol, o.side, o.role, o.account_id, p.planned_at
ORDER BY o.signal_id, o.symbol, o.side, o.role LIMIT %(most)s"""


class Fills(msgspec.Struct, frozen=True, kw_only=True):
    """What one of the two got of a signal. Lots; `price` null: nothing was filled, or at no known price."""

    ordered: str
    filled: str
    price: str | None
    filled_after_ms: int | None
    """Null: not filled whole."""


class ComparedSignal(msgspec.Struct, frozen=True, kw_only=True):
    """One signal's orders on one side. Null: that one had no order."""

    signal_id: UUID
    received_at: datetime
    ticker: str
    symbol: str
    side: str
    role: str
    live: Fills | None
    shadow: Fills | None
    worse_bps: str | None


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """Of `n` rows; null where there are none."""

    mean: str | None
    n: int


class SymbolSums(msgspec.Struct, frozen=True, kw_only=True):
    """All rows of one symbol: filled lots, both sides together."""

    symbol: str
    live_filled: str
    shadow_filled: str
    worse_bps: Mean


class ShadowReport(msgspec.Struct, frozen=True, kw_only=True):
    """`since` is never before the shadow was made. `both`, `live_only`, `shadow_only`: rows, by who had
    an order."""

    subscription_id: UUID
    shadow_subscription_id: UUID
    since: datetime
    until: datetime
    both: int
    live_only: int
    shadow_only: int
    worse_bps: Mean
    live_filled_after_ms: Mean
    shadow_filled_after_ms: Mean
    symbols: list[SymbolSums]
    signals: list[ComparedSignal]


def period(
    since: datetime | None, until: datetime | None, created_at: datetime, now: datetime
) -> tuple[datetime, datetime]:
    """What is looked at, none of it before the shadow was made. Raises Invalid."""
    end = until or now
    begin = since or end - USUAL
    if begin >= end:
        raise Invalid("since: must be before until", field="since")
    if end - begin > PERIOD_MOST:
        raise Invalid(f"since: at most {PERIOD_MOST.days} days before until", field="since")
    return min(max(begin, created_at), end), end


async def report(
    conn: Connection,
    strategy: UUID,
    live: tuple[UUID, UUID],
    shadow: tuple[UUID, UUID],
    since: datetime,
    until: datetime,
) -> ShadowReport:
    """`live`, `shadow`: subscription and account. Raises Invalid where there is too much."""
    asked = {
        "strategy": strategy, "accounts": [live[1], shadow[1]], "low": first_id(since),
        "high": first_id(until), "most": ROWS_MOST + 1,
    }  # fmt: skip
    rows = await (await conn.execute(_ROWS, asked)).fetchall()
    if len(rows) > ROWS_MOST:
        raise Invalid(
            f"since: more than {ROWS_MOST:,} rows: ask for a shorter period", field="since"
        )
    signals = compared(rows, shadow[1])
    return summed(signals, live[0], shadow[0], since, until)


def compared(rows: Iterable[Sequence[Any]], shadow_account: UUID) -> list[ComparedSignal]:
    """The database's rows, the two accounts' side by side. Pure."""
    found: dict[tuple[Any, ...], dict[str, tuple[Fills, Decimal | None]]] = {}
    for *key, account, ordered, filled, price, after in rows:
        fills = Fills(
            ordered=plain(ordered or Decimal(0)),
            filled=plain(filled),
            price=None if price is None else plain(price),
            filled_after_ms=None if after is None else int(after / timedelta(milliseconds=1)),
        )
        who = "shadow" if account == shadow_account else "live"
        found.setdefault(tuple(key), {})[who] = (fills, price)
    return [_compared(key, both) for key, both in found.items()]


def _compared(
    key: tuple[Any, ...], both: dict[str, tuple[Fills, Decimal | None]]
) -> ComparedSignal:
    signal_id, ticker, received_at, symbol, side, role = key
    live, paid = both.get("live", (None, None))
    shadow, reference = both.get("shadow", (None, None))
    worse = slippage_bps(side, paid, reference)
    return ComparedSignal(
        signal_id=signal_id, received_at=received_at, ticker=ticker, symbol=symbol, side=side,
        role=role, live=live, shadow=shadow, worse_bps=None if worse is None else plain(worse),
    )  # fmt: skip


def summed(
    signals: list[ComparedSignal], live: UUID, shadow: UUID, since: datetime, until: datetime
) -> ShadowReport:
    """What they come to. Pure."""
    by_symbol: dict[str, list[ComparedSignal]] = {}
    for one in signals:
        by_symbol.setdefault(one.symbol, []).append(one)
    return ShadowReport(
        subscription_id=live,
        shadow_subscription_id=shadow,
        since=since,
        until=until,
        both=sum(1 for one in signals if one.live and one.shadow),
        live_only=sum(1 for one in signals if not one.shadow),
        shadow_only=sum(1 for one in signals if not one.live),
        worse_bps=_mean(one.worse_bps for one in signals),
        live_filled_after_ms=_mean(one.live.filled_after_ms for one in signals if one.live),
        shadow_filled_after_ms=_mean(one.shadow.filled_after_ms for one in signals if one.shadow),
        symbols=[
            SymbolSums(
                symbol=symbol,
                live_filled=_lots(one.live for one in some),
                shadow_filled=_lots(one.shadow for one in some),
                worse_bps=_mean(one.worse_bps for one in some),
            )
            for symbol, some in sorted(by_symbol.items())
        ],
        signals=signals,
    )


def _mean(values: Iterable[str | int | None]) -> Mean:
    known = [Decimal(value) for value in values if value is not None]
    if not known:
        return Mean(mean=None, n=0)
    with localcontext() as context:
        context.prec = 60
        mean = (sum(known, Decimal(0)) / len(known)).quantize(Decimal("0.0001"))
    return Mean(mean=plain(mean), n=len(known))


def _lots(fills: Iterable[Fills | None]) -> str:
    return plain(sum((Decimal(one.filled) for one in fills if one is not None), Decimal(0)))


HEADINGS = (
    "signal_id", "received_at", "ticker", "symbol", "side", "role", "live_ordered", "live_filled",
    "live_price", "live_filled_after_ms", "shadow_ordered", "shadow_filled", "shadow_price",
    "shadow_filled_after_ms", "worse_bps",
)  # fmt: skip


def as_csv(made: ShadowReport) -> bytes:
    """The rows (RFC 4180, UTF-8); the sums are in the JSON. Pure."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(HEADINGS)
    for one in made.signals:
        writer.writerow([
            one.signal_id, one.received_at.isoformat(), _inert(one.ticker), _inert(one.symbol),
            one.side, one.role, *_cells(one.live), *_cells(one.shadow), one.worse_bps or "",
        ])  # fmt: skip
    return out.getvalue().encode()


def _cells(fills: Fills | None) -> tuple[str | int, ...]:
    if fills is None:
        return ("",) * 4
    after = fills.filled_after_ms
    return fills.ordered, fills.filled, fills.price or "", "" if after is None else after


def _inert(text: str) -> str:
    """Somebody else's text, so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
