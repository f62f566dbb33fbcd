"""Sizing and whole plans of many accounts, beside the same by a plain loop of decimals. In this process alone.

Each account has numbers of its own: equity, leverage, quantity, limits. What a worker keeps between
signals is kept here too: the snapshot's columns, which are made when people change something.
Everything that a signal brings is new each time: the brokers' answers are decimals, as PostgreSQL
gives them. A quarter of the accounts hold the other side and are flipped.

The plain loop does what any program would: it takes each account's decimals, divides, rounds down to
the lot, cuts to the limits and the maximum, and lists account, side and quantity. It judges nothing,
explains nothing and has one kind of account.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from time import perf_counter
from typing import Any
from uuid import UUID

import msgspec

from fanout.exact import many
from fanout.market import AccountNow, Instruments, Market
from fanout.plan import Rules, make_plan
from fanout.ports import Instrument
from fanout.sequence import seed_of
from fanout.signal import Signal, decode
from fanout.sizing import steps_of
from ops.bench.measure import Effort, Measurement, Series
from tenancy.account import Account
from tenancy.effective import resolve
from tenancy.ids import new_id
from tenancy.limits import Limits, tightest
from tenancy.snapshot import Snapshot, Subscribed
from tenancy.strategy import Strategy, StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.tenant import Terms
from tenancy.values import AccountID, SignalID, StrategyID, SubscriptionID, TenantID, partition

AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TENANT = TenantID(UUID(int=1))
PRICE, MULTIPLIER, STEP = Decimal("50123.4"), Decimal("0.0001"), Decimal(1)
LARGEST = Decimal(1_000_000)
RULES = Rules(signal_age_max_s=60.0, open_window_s=30.0)
REPEATS = 7

SIZING = {"sizing_1000_ms": 1_000, "sizing_10000_ms": 10_000}
PLANS = {"plan_20_ms": 20, "plan_1000_ms": 1_000, "plan_10000_ms": 10_000}


async def sizing(effort: Effort) -> list[Measurement]:
    """Lots from equity, percent and leverage, all three different from account to account."""
    series = Series(dict.fromkeys(SIZING, "ms"))
    for name, accounts in SIZING.items():
        rng = random.Random(accounts)  # noqa: S311 - a bench's inputs are no secret
        rows = [(_money(rng), _percent(rng), _leverage(rng)) for _ in range(accounts)]
        columns = [many(list(column)) for column in zip(*rows, strict=True)]
        lot = Fraction(PRICE) * Fraction(MULTIPLIER) * Fraction(STEP) * 100
        for _ in range(effort.runs):
            floor, by_loop = _timed(_loop, rows)
            value, found = _timed(steps_of, columns, lot, "down")
            assert found.tolist() == by_loop, "both say the same, to the last lot"
            series.floor(**{name: floor})
            series.value(**{name: value})
    return series.measurements()


async def plans(effort: Effort) -> list[Measurement]:
    """A signal to a plan: order, judgement, inheritance, sizes, limits."""
    series = Series(dict.fromkeys(PLANS, "ms"))
    signal = decode(b'{"ticker": "BTCUSDT", "action": "buy"}')
    for name, accounts in PLANS.items():
        snapshot = strategy_of(accounts)
        _plan(signal, snapshot, iter([market_of(snapshot)]))  # makes the snapshot's columns
        for _ in range(effort.runs):
            markets = iter([market_of(snapshot) for _ in range(2 * REPEATS)])
            floor, by_loop = _timed(_plain, snapshot, markets)
            value, plan = _timed(_plan, signal, snapshot, markets)
            opened = {e.account_id: e.legs[-1].order_qty for e in plan.entries if e.legs}
            assert opened == dict(by_loop), "both say the same, to the last lot"
            series.floor(**{name: floor})
            series.value(**{name: value})
    return series.measurements()


def _timed(do: Callable[..., Any], *what: Any) -> tuple[float, Any]:
    """The least of several times, in ms (others' work only ever adds), and what came of it."""
    best, result = float("inf"), None
    for _ in range(REPEATS):
        begun = perf_counter()
        result = do(*what)
        best = min(best, perf_counter() - begun)
    return best * 1000, result


def _money(rng: random.Random) -> Decimal:
    return Decimal(rng.randrange(10**5, 10**9)).scaleb(-2)


def _percent(rng: random.Random) -> Decimal:
    return Decimal(rng.randrange(1, 10_000)).scaleb(-2)


def _leverage(rng: random.Random) -> Decimal:
    return Decimal(rng.choice(["1", "1.5", "2", "3"]))


def _lots(equity: Decimal, percent: Decimal, leverage: Decimal) -> int:
    exact = equity * percent * leverage / (100 * PRICE * MULTIPLIER) / STEP
    return int(exact.to_integral_value(ROUND_FLOOR))


def _loop(rows: Sequence[tuple[Decimal, Decimal, Decimal]]) -> list[int]:
    return [_lots(*row) for row in rows]


def _plain(snapshot: Snapshot, markets: Iterator[Market]) -> list[tuple[AccountID, Decimal]]:
    """The plain loop over the same accounts, and the lots that it opens."""
    orders, market = [], next(markets)
    for row in snapshot.rows:
        account, limits = row.account, row.limits
        now = market.accounts[account.account_id]
        assert now.equity is not None
        lots = Decimal(_lots(now.equity, row.settings.quantity.value, account.leverage)) * STEP
        for limit in (limits.max_order_quantity, limits.max_position_quantity):
            if limit is not None:
                lots = min(lots, (limit.value / STEP).to_integral_value(ROUND_FLOOR) * STEP)
        lots = min(lots, LARGEST)
        if lots > 0:
            orders.append((account.account_id, lots))
    return orders


def _plan(signal: Signal, snapshot: Snapshot, markets: Iterator[Market]) -> Any:
    identity = SignalID(UUID(int=5))
    return make_plan(
        signal, snapshot, next(markets), signal_id=identity, received_at=AT, planned_at=AT,
        seed=seed_of(identity), rotation=3, rules=RULES,
    )  # fmt: skip


def strategy_of(accounts: int) -> Snapshot:
    """A strategy with so many accounts: four kinds of settings, and numbers of each account's own."""
    rng = random.Random(accounts)  # noqa: S311 - a bench's inputs are no secret
    kinds = [
        SubscriptionSettings(
            use_signal_quantity=False,
            override_quantity=Decimal(1),
            override_quantity_type="percent_of_equity",
            approval_minutes=kind + 1,
        )
        for kind in range(4)
    ]
    return Snapshot(
        strategy=Strategy(
            strategy_id=StrategyID(new_id()), tenant_id=TENANT, name="bench",
            asset_class="crypto", state="active", sequence="rotate",
            settings=StrategySettings(), limits=Limits(), part=0, version=1,
        ),
        tenant=Terms(),
        platform=Terms(),
        rows=tuple(_row(rng, kinds[n % len(kinds)]) for n in range(accounts)),
    )  # fmt: skip


def _row(rng: random.Random, kind: SubscriptionSettings) -> Subscribed:
    identity = AccountID(new_id())
    own = msgspec.structs.replace(kind, override_quantity=_percent(rng))
    limits = Limits(
        max_order_quantity=Decimal(rng.randrange(100, 100_000)),
        max_position_quantity=Decimal(rng.randrange(100, 100_000)),
        over_limit="cut",
    )
    return Subscribed(
        subscription_id=SubscriptionID(new_id()),
        enabled=True,
        priority=0,
        settings=resolve(StrategySettings(), None, own, asset_class="crypto"),
        limits=tightest([("account", limits)]),
        account=Account(
            account_id=identity, tenant_id=TENANT, name="bench", broker="gateio",
            currency="USDT", stated_equity=None, leverage=_leverage(rng), state="active",
            settings={}, part=partition(identity),
        ),
    )  # fmt: skip


def market_of(snapshot: Snapshot) -> Market:
    """What brokers and the book say, new each time."""
    rng = random.Random(len(snapshot.rows))  # noqa: S311 - a bench's inputs are no secret
    instrument = Instrument(
        symbol="BTC_USDT", multiplier=MULTIPLIER, lot_step=STEP, min_qty=Decimal(1),
        max_qty=LARGEST, tick=Decimal("0.1"), currency="USDT", last_price=PRICE,
        mark_price=PRICE, as_of=AT,
    )  # fmt: skip
    return Market(
        instruments={"gateio": Instruments([instrument])},
        accounts={
            row.account.account_id: AccountNow(
                equity=_money(rng), position=Decimal(-3 if n % 4 == 0 else 0)
            )
            for n, row in enumerate(snapshot.rows)
        },
    )
