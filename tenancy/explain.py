"""Everything that holds for one subscription, each value with the layer that it comes from. Pure.

The same functions make the snapshot (tenancy/store/snapshots.py), so what is shown is what trades.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tenancy.account import Account
from tenancy.effective import Resolved, resolve
from tenancy.group import Group
from tenancy.limits import EffectiveLimits, Limits, tightest
from tenancy.parameters import TradingState
from tenancy.strategy import Strategy
from tenancy.subscription import SubscriptionSettings
from tenancy.tenant import Terms

Level = Literal["platform", "tenant", "strategy", "group", "account"]
STRICTNESS: tuple[TradingState, ...] = ("active", "reducing", "halted")


class States(msgspec.Struct, frozen=True, kw_only=True):
    """Each level's own state; `trading` is the strictest, and `source` the outermost that says so."""

    platform: TradingState
    tenant: TradingState
    strategy: TradingState
    group: TradingState | None
    account: TradingState
    trading: TradingState
    source: Level
    enabled: bool
    archived: tuple[Level, ...]
    """What is archived never trades, and nothing that hangs on it does."""


class EffectiveView(msgspec.Struct, frozen=True, kw_only=True):
    """What `GET /v1/subscriptions/{id}/effective` answers."""

    settings: Resolved
    limits: EffectiveLimits
    states: States
    version: int
    platform_revision: int


def explain(
    strategy: Strategy,
    group: Group | None,
    subscription: SubscriptionSettings,
    account: Account,
    tenant: Terms,
    platform: Terms,
    *,
    enabled: bool = True,
) -> EffectiveView:
    """What holds for one subscription of `account` to `strategy`. `group`: the account's, or None."""
    return EffectiveView(
        settings=resolve(
            strategy.settings,
            None if group is None else group.settings,
            subscription,
            asset_class=strategy.asset_class,
        ),
        limits=limits_of(strategy, group, account.limits, tenant, platform),
        states=_states(strategy, group, account, tenant, platform, enabled=enabled),
        version=strategy.version,
        platform_revision=platform.revision,
    )


def limits_of(
    strategy: Strategy, group: Group | None, account: Limits, tenant: Terms, platform: Terms
) -> EffectiveLimits:
    """The tightest over all five layers."""
    return tightest(
        (
            ("platform", platform.limits),
            ("tenant", tenant.limits),
            ("strategy", strategy.limits),
            ("group", Limits() if group is None else group.limits),
            ("account", account),
        )
    )


def _states(
    strategy: Strategy,
    group: Group | None,
    account: Account,
    tenant: Terms,
    platform: Terms,
    *,
    enabled: bool,
) -> States:
    levels: list[tuple[Level, TradingState, bool]] = [
        ("platform", platform.state, False),
        ("tenant", tenant.state, False),
        ("strategy", strategy.state, strategy.archived),
        ("account", account.state, account.archived),
    ]
    if group is not None:
        levels.insert(3, ("group", group.state, group.archived))
    source, trading, _ = max(levels, key=lambda level: STRICTNESS.index(level[1]))
    return States(
        platform=platform.state,
        tenant=tenant.state,
        strategy=strategy.state,
        group=None if group is None else group.state,
        account=account.state,
        trading=trading,
        source=source,
        enabled=enabled,
        archived=tuple(level for level, _, archived in levels if archived),
    )
