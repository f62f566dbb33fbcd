"""Small valid things for tests: say only what the test is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from fanout.market import AccountNow, Instruments, Market
from fanout.order import Order, OrdState, cl_ord_id, order_id
from fanout.plan import Plan, Rules, make_plan
from fanout.ports import BrokerAccount, Instrument, Report
from fanout.sequence import seed_of
from fanout.signal import Signal, decode
from tenancy.account import Account
from tenancy.effective import resolve
from tenancy.group import Group
from tenancy.ids import new_id
from tenancy.limits import EffectiveLimits, Limits
from tenancy.snapshot import Snapshot, Subscribed
from tenancy.strategy import Strategy, StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.tenant import Terms
from tenancy.values import (
    AccountID,
    SignalID,
    StrategyID,
    SubscriptionID,
    TenantID,
    partition,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TENANT = TenantID(UUID(int=7))
RULES = Rules(signal_age_max_s=60.0, open_window_s=30.0)


def instrument(symbol: str = "BTC_USDT", **changes: object) -> Instrument:
    values: dict[str, object] = {
        "symbol": symbol,
        "multiplier": Decimal("0.0001"),
        "lot_step": Decimal(1),
        "min_qty": Decimal(1),
        "max_qty": Decimal(1_000_000),
        "tick": Decimal("0.1"),
        "currency": "USDT",
        "last_price": Decimal("50000"),
        "mark_price": Decimal("50000"),
        "as_of": NOW,
    }
    return Instrument(**{**values, **changes})  # type: ignore[arg-type]


def account(name: str = "a", **changes: object) -> Account:
    identity = AccountID(new_id())
    values: dict[str, object] = {
        "account_id": identity,
        "tenant_id": TENANT,
        "name": name,
        "broker": "gateio",
        "currency": "USDT",
        "stated_equity": Decimal(10_000),
        "leverage": Decimal(1),
        "state": "active",
        "settings": {},
        "part": partition(identity),
    }
    return Account(**{**values, **changes})  # type: ignore[arg-type]


def broker_account(**changes: object) -> BrokerAccount:
    values: dict[str, object] = {
        "account_id": AccountID(new_id()),
        "tenant_id": TENANT,
        "currency": "USDT",
        "stated_equity": Decimal(10_000),
        "leverage": Decimal(1),
        "settings": {},
    }
    return BrokerAccount(**{**values, **changes})  # type: ignore[arg-type]


def subscribed(
    settings: SubscriptionSettings | None = None,
    *,
    strategy: StrategySettings | None = None,
    group: Group | None = None,
    held_to: EffectiveLimits | None = None,
    **account_changes: object,
) -> Subscribed:
    """`strategy`: the settings of the layer above; `held_to`: the tightest limits."""
    own = settings or SubscriptionSettings()
    return Subscribed(
        subscription_id=SubscriptionID(new_id()),
        enabled=True,
        priority=0,
        settings=resolve(
            strategy or StrategySettings(), group and group.settings, own, asset_class="crypto"
        ),
        limits=held_to or EffectiveLimits(),
        group=group,
        account=account(**account_changes),
    )


def snapshot(*rows: Subscribed, **changes: object) -> Snapshot:
    identity = StrategyID(new_id())
    values: dict[str, object] = {
        "strategy_id": identity,
        "tenant_id": TENANT,
        "name": "trend",
        "asset_class": "crypto",
        "state": "active",
        "sequence": "fixed",
        "settings": StrategySettings(),
        "limits": Limits(),
        "part": partition(identity),
        "version": 3,
    }
    tenant = Terms(state=changes.pop("tenant_state", "active"))  # type: ignore[arg-type]
    platform = Terms(state=changes.pop("platform_state", "active"))  # type: ignore[arg-type]
    return Snapshot(
        strategy=Strategy(**{**values, **changes}),  # type: ignore[arg-type]
        tenant=tenant,
        platform=platform,
        rows=rows,
    )


def signal(**fields: object) -> Signal:
    import json

    return decode(json.dumps({"ticker": "BTC_USDT", "action": "buy", **fields}).encode())


def market(
    snap: Snapshot, positions: dict[int, AccountNow] | None = None, *instruments: Instrument
) -> Market:
    """Every broker of the snapshot has `instruments`; `positions` by row."""
    known = Instruments(instruments or (instrument(),))
    return Market(
        instruments={row.account.broker: known for row in snap.rows},
        accounts={
            snap.rows[index].account.account_id: now for index, now in (positions or {}).items()
        },
    )


def plan(sig: Signal, snap: Snapshot, mkt: Market | None = None, **changes: object) -> Plan:
    signal_id = SignalID(new_id())
    values: dict[str, object] = {
        "signal_id": signal_id,
        "received_at": NOW,
        "planned_at": NOW + timedelta(milliseconds=3),
        "seed": seed_of(signal_id),
        "rotation": 0,
        "rules": RULES,
    }
    return make_plan(sig, snap, mkt or market(snap), **{**values, **changes})  # type: ignore[arg-type]


def order(**changes: object) -> Order:
    signal_id, account_id = SignalID(new_id()), AccountID(new_id())
    name = order_id(signal_id, account_id, 0)
    values: dict[str, object] = {
        "cl_ord_id": cl_ord_id(name, 1),
        "order_id": name,
        "tenant_id": TENANT,
        "signal_id": signal_id,
        "strategy_id": StrategyID(new_id()),
        "account_id": account_id,
        "part": partition(account_id),
        "leg": 0,
        "attempt": 1,
        "place": 0,
        "broker": "gateio",
        "symbol": "BTC_USDT",
        "side": "buy",
        "order_qty": Decimal(10),
        "ord_type": "market",
        "price": None,
        "time_in_force": "gtc",
        "reduce_only": False,
        "deadline": NOW + timedelta(seconds=30),
        "state": OrdState.INTENT,
        "epoch": 1,
        "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "intent_at": NOW,
    }
    return Order(**{**values, **changes})  # type: ignore[arg-type]


def report(of: Order, status: OrdState = OrdState.FILLED, **changes: object) -> Report:
    values: dict[str, object] = {
        "cl_ord_id": of.cl_ord_id,
        "broker_order_id": "b1",
        "ord_status": status,
        "cum_qty": of.order_qty if status is OrdState.FILLED else Decimal(0),
        "avg_px": Decimal(50_000) if status is OrdState.FILLED else None,
        "text": "",
        "transact_time": NOW,
        "raw": b"{}",
    }
    return Report(**{**values, **changes})  # type: ignore[arg-type]
