"""A strategy: what it sets for all its accounts, where neither signal, subscription nor group does."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

import msgspec

from tenancy.limits import Limits
from tenancy.parameters import Behaviours, OrdType, QuantityType, TimeInForce
from tenancy.parameters import TradingState as TradingState
from tenancy.protection import StopLoss, TakeProfit, positive_members
from tenancy.rules import Schema, absent, given
from tenancy.values import Currency, Percent, Positive, StrategyID, TenantID

Sequence = Literal["rotate", "random", "fixed"]
AssetClass = Literal["crypto", "stock", "future", "option"]


class StrategySettings(
    Behaviours, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The least specific layer that people write. Absent: the product's (tenancy/effective.py)."""

    default_quantity: Positive | None = None
    default_quantity_type: QuantityType | None = None
    default_order_type_entry: OrdType | None = None
    default_order_type_exit: OrdType | None = None
    default_time_in_force_entry: TimeInForce | None = None
    default_time_in_force_exit: TimeInForce | None = None
    default_take_profit: TakeProfit | None = None
    default_stop_loss: StopLoss | None = None

    reference_equity: Positive | None = None
    """The equity that `equity_ratio` signals are sized for: who has twice as much trades twice as much."""
    reference_currency: Currency | None = None
    """Of the reference equity; absent: each account's own."""
    quorum_percent: Percent | None = None
    """An entry trades only if at least so many of the accounts pass every check. 100: all or none."""
    quorum_accounts: Annotated[tuple[UUID, ...], msgspec.Meta(max_length=1000)] | None = None
    """And only if each of these does."""

    rules: ClassVar[Schema] = {
        "anyOf": [absent("default_quantity_type"), given("default_quantity")]
    }

    def __post_init__(self) -> None:
        Behaviours.__post_init__(self)
        positive_members(self, "default_quantity", "reference_equity", "quorum_percent")
        if self.quorum_percent is not None and self.quorum_percent > 100:
            raise ValueError(f"quorum_percent: at most 100, got {self.quorum_percent}")
        if self.default_quantity_type is not None and self.default_quantity is None:
            raise ValueError(
                "default_quantity_type without a default_quantity says nothing: set both or neither"
            )


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """As its row says it, at `version`."""

    strategy_id: StrategyID
    tenant_id: TenantID
    name: str
    asset_class: str
    state: TradingState
    sequence: Sequence
    settings: StrategySettings
    limits: Limits
    part: int
    version: int
    archived: bool = False
