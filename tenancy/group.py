"""A group of accounts: settings and limits that hold for many accounts at once."""

from __future__ import annotations

import msgspec

from tenancy.limits import Limits
from tenancy.parameters import TradingState
from tenancy.subscription import SubscriptionSettings
from tenancy.values import GroupID


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """As its row says it. An archived group sets nothing, and its accounts trade nothing."""

    group_id: GroupID
    name: str
    state: TradingState = "active"
    settings: SubscriptionSettings = SubscriptionSettings()
    limits: Limits = Limits()
    archived: bool = False
