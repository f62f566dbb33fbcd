"""Limits, the additive rule: platform, tenant, strategy, group and account each set some, the tightest holds.

Only what a plan decides exactly can be stored: orders per minute and daily loss come with the
code that enforces them. A limit never stops a pure exit.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Generic, Literal, TypeVar

import msgspec

from tenancy.protection import positive_members
from tenancy.values import Positive

OverLimit = Literal["cut", "skip"]


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
    over_limit: OverLimit | None = None
    """What is over a quantity or notional: cut to the limit, or skipped. Absent everywhere: skip."""

    def __post_init__(self) -> None:
        positive_members(self, *NUMBERS)


NUMBERS = (
    "max_order_quantity",
    "max_order_notional",
    "max_position_quantity",
    "max_position_notional",
    "price_collar_percent",
)
"""Where the tightest is the smallest."""

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
    price_collar_percent: Limit[Decimal] | None = None
    over_limit: Limit[OverLimit] = Limit("skip", "product")


def tightest(layers: Iterable[tuple[LimitSource, Limits]]) -> EffectiveLimits:
    """What holds under all `layers`; of equals the first is named, so give the outermost first.

    What is over a limit is cut only where every layer that sets a limit says so: one that is
    silent, or says skip, is the tighter.
    """
    held: dict[str, Limit[Decimal]] = {}
    over: Limit[OverLimit] = Limit("skip", "product")
    skips = False
    for source, limits in layers:
        for name in NUMBERS:
            value = getattr(limits, name)
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
