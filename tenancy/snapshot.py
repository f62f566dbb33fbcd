"""A strategy's subscriptions and accounts, side by side, at one version of its settings.

A plan is a pure function of (signal, snapshot, market, seed): the snapshot is what people set
up, the market part what brokers said. Rows are in the order of the subscriptions' priority,
then their ids, so that the same version always gives the same rows.
"""

from __future__ import annotations

import msgspec

from tenancy.account import Account
from tenancy.strategy import Strategy, TradingState
from tenancy.subscription import SubscriptionSettings
from tenancy.values import SubscriptionID


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a subscription and its account."""

    subscription_id: SubscriptionID
    enabled: bool
    priority: int
    settings: SubscriptionSettings
    account: Account


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What people set up, at `strategy.version`."""

    strategy: Strategy
    tenant_state: TradingState
    rows: tuple[Subscribed, ...]
