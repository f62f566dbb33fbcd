"""A strategy's subscriptions and accounts, side by side, at one version of what people set up.

A plan is a pure function of (signal, snapshot, market, seed): the snapshot is what people set
up, the market part what brokers said. Inheritance is resolved in it, and the tightest limits are
chosen. Rows are in the order of the subscriptions' priority, then their ids, so that the same
version always gives the same rows.

`strategy.version` covers everything of the tenant's: strategy, tenant, groups, accounts,
subscriptions, credentials, and who else follows the accounts. The platform's own terms have a
revision of their own.
"""

from __future__ import annotations

import msgspec

from tenancy.account import Account
from tenancy.effective import Resolved
from tenancy.group import Group
from tenancy.limits import EffectiveLimits
from tenancy.strategy import Strategy
from tenancy.tenant import Terms
from tenancy.values import AccountID, StrategyID, SubscriptionID


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a subscription, its account, and all that holds for the two."""

    subscription_id: SubscriptionID
    enabled: bool
    priority: int
    settings: Resolved
    limits: EffectiveLimits
    account: Account
    group: Group | None = None


class Shadow(msgspec.Struct, frozen=True, kw_only=True):
    """A paper twin: what its subscription and its account say themselves. All else is the twin's."""

    subscription_id: SubscriptionID
    twin: SubscriptionID
    enabled: bool
    account: Account


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, weakref=True):
    """What people set up, at `strategy.version` and `platform.revision`."""

    strategy: Strategy
    tenant: Terms
    platform: Terms
    rows: tuple[Subscribed, ...]
    calendars: frozenset[str] = frozenset()
    """Those that any of the rows' trading windows names."""
    neighbours: frozenset[StrategyID] = frozenset()
    """The other strategies that follow any of these accounts: their plans and ours take turns."""
    shared: frozenset[AccountID] = frozenset()
    """The accounts that they follow too."""
    shadows: tuple[Shadow, ...] = ()
    """In none of the rows, so that nothing that is counted over rows counts them (fanout/shadows.py)."""
