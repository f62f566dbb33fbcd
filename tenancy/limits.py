"""Limits, the additive rule: platform, tenant, strategy, group and account each set some, the tightest holds.

A limit never stops a pure exit. A position limit of the strategy's layer counts what that strategy
holds in the account; those of all other layers count what all strategies hold there together.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from tenancy.protection import positive_members
from tenancy.values import Positive

OverLimit = Literal["cut", "skip"]
OrdersPerMinute = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class Limits(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One layer's limits; absent: this layer sets none. Quantities in whole lots, notionals in the
    account's own currency, whatever it is."""

    max_order_quantity: Positive | None = None
    """Of the part of an order that opens or adds."""
    max_order_notional: Positive | None = None
    max_position_quantity: Positive | None = None
    """Of the position in one instrument, long or short, that an order would leave."""
    max_position_notional: Positive | None = None
    price_collar_percent: Positive | None = None
    """How far from the market a limit price may be, in percent of the market's price."""
    max_leverage: Positive | None = None
    """Worth of all positions of the account that an order would leave, against its equity."""
    max_daily_loss: Positive | None = None
    """Of an account, in its currency, since its tenant's trading day began: what is lost, and what the stops
    of open positions may still lose. At or over it nothing is opened or added to."""
    max_orders_per_minute: OrdersPerMinute | None = None
    """Of an account, of all strategies together, over any 60 s; closing orders count, and are never stopped."""
    over_limit: OverLimit | None = None
    """What is over a quantity or notional: cut to the limit, or skipped. Absent everywhere: skip."""

    def __post_init__(self) -> None:
        positive_members(self, *(name for name in NUMBERS if name != "max_orders_per_minute"))


NUMBERS = (
    "max_order_quantity",
    "max_order_notional",
    "max_position_quantity",
    "max_position_notional",
    "price_collar_percent",
    "max_leverage",
    "max_daily_loss",
    "max_orders_per_minute",
)
"""Where the tightest is the smallest."""

OF_THE_STRATEGY = {
    "max_position_quantity": "strategy_position_quantity",
    "max_position_notional": "strategy_position_notional",
}

LimitSource = Literal["platform", "tenant", "strategy", "group", "account", "product"]
T = TypeVar("T")


class Limit(msgspec.Struct, Generic[T], frozen=True):
    """A limit, and the layer that set it."""

    value: T
    source: LimitSource


class EffectiveLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The tightest of each; None: no layer sets one."""

    max_order_quantity: Limit[Decimal] | None = None
    max_order_notional: Limit[Decimal] | None = None
    max_position_quantity: Limit[Decimal] | None = None
    max_position_notional: Limit[Decimal] | None = None
    strategy_position_quantity: Limit[Decimal] | None = None
    """What the strategy's own layer says of its position in the account."""
    strategy_position_notional: Limit[Decimal] | None = None
    price_collar_percent: Limit[Decimal] | None = None
    max_leverage: Limit[Decimal] | None = None
    max_daily_loss: Limit[Decimal] | None = None
    max_orders_per_minute: Limit[int] | None = None
    over_limit: Limit[OverLimit] = Limit("skip", "product")


def tightest(layers: Iterable[tuple[LimitSource, Limits]]) -> EffectiveLimits:
    """What holds under all `layers`; of equals the first is named, so give the outermost first.

    What is over a limit is cut only where every layer that sets a limit says so: one that is
    silent, or says skip, is the tighter.
    """
    held: dict[str, Limit[Any]] = {}
    over: Limit[OverLimit] = Limit("skip", "product")
    skips = False
    for source, limits in layers:
        for name in NUMBERS:
            value = getattr(limits, name)
            name = OF_THE_STRATEGY.get(name, name) if source == "strategy" else name
            if value is not None and (name not in held or value < held[name].value):
                held[name] = Limit(value, source)
        says = limits.over_limit
        limiting = any(getattr(limits, name) is not None for name in NUMBERS)
        if skips or not (limiting or says == "skip"):
            continue
        if says == "cut":
            over = over if over.value == "cut" else Limit("cut", source)
        else:
            over, skips = Limit("skip", source), True
    return EffectiveLimits(over_limit=over, **held)
