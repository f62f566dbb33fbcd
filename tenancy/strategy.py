"""A strategy, and the parameters that it, a subscription or a signal can set."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from tenancy.values import StrategyID, TenantID, positive

TradingState = Literal["active", "reducing", "halted"]
Sequence = Literal["rotate", "random", "fixed"]

QUANTITY_TYPES = frozenset(
    {
        "fixed_quantity",
        "multiplier",
        "dollar_amount",
        "percent_of_equity",
        "percent_of_position",
        "risk_dollar_amount",
        "risk_percent",
    }
)
ORDER_TYPES = frozenset({"market", "limit", "stop", "stop_limit", "trailing_stop"})
TIMES_IN_FORCE = frozenset({"day", "gtc", "opg", "cls", "ioc", "fok"})


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Values for what a signal may leave out. Used as a strategy's defaults and as overrides."""

    quantity: Decimal | None = None
    quantity_type: str | None = None
    order_type_entry: str | None = None
    order_type_exit: str | None = None
    time_in_force_entry: str | None = None
    time_in_force_exit: str | None = None

    def __post_init__(self) -> None:
        if self.quantity is not None:
            positive(self.quantity, "quantity")
        if self.quantity_type is not None and self.quantity is None:
            raise ValueError("quantity_type without a quantity says nothing: set both or neither")
        for name, allowed in (
            ("quantity_type", QUANTITY_TYPES),
            ("order_type_entry", ORDER_TYPES),
            ("order_type_exit", ORDER_TYPES),
            ("time_in_force_entry", TIMES_IN_FORCE),
            ("time_in_force_exit", TIMES_IN_FORCE),
        ):
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise ValueError(f"{name}: {value!r} is none of {', '.join(sorted(allowed))}")


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    """As its row says it, at `version`."""

    strategy_id: StrategyID
    tenant_id: TenantID
    name: str
    asset_class: str
    state: TradingState
    sequence: Sequence
    defaults: Parameters
    part: int
    version: int
