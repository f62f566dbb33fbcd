"""A client account at a broker, as a plan and an adapter need it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from tenancy.limits import Limits
from tenancy.parameters import TradingState
from tenancy.values import AccountID, GroupID, TenantID


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """As its row says it. `sealed` is the live credential's blob: useless outside the HSM."""

    account_id: AccountID
    tenant_id: TenantID
    name: str
    broker: str
    currency: str
    stated_equity: Decimal | None
    leverage: Decimal
    state: TradingState
    settings: dict[str, Any]
    part: int
    group_id: GroupID | None = None
    limits: Limits = Limits()
    archived: bool = False
    api_key: str | None = None
    sealed: bytes | None = None

    def __repr__(self) -> str:
        return f"Account({self.name!r}, {self.broker}, {self.state})"
