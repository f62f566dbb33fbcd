"""Which value holds, and where it comes from: the overridable rule, most specific first. Pure.

1. `use_signal_X` on and the signal has X: the signal's.
2. else the subscription's override, where set.
3. else the strategy's default, where set.
4. else the product's.

Spec: signal.md, "Where each parameter comes from". A multiplier is the one override that does
not replace the signal's quantity but scales it, so it holds even where the signal's is used.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from tenancy.strategy import Parameters
from tenancy.subscription import SubscriptionSettings

Source = Literal["signal", "subscription", "strategy", "product"]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a signal that inheritance looks at."""

    quantity: Decimal | None
    quantity_type: str
    order_type: str | None
    time_in_force: str | None


class Effective(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one account, each value with its source."""

    quantity: Decimal
    quantity_type: str
    order_type: str
    time_in_force: str
    source: dict[str, Source]


def effective(
    wanted: Wanted,
    settings: SubscriptionSettings,
    defaults: Parameters,
    *,
    exit: bool,
    product_time_in_force: str,
) -> Effective:
    """The values for one account. `exit`: the order closes a position."""
    quantity, quantity_type, quantity_source = _quantity(wanted, settings, defaults)
    suffix = "exit" if exit else "entry"
    order_type, order_type_source = _pick(
        wanted.order_type, settings, defaults, f"order_type_{suffix}", "market"
    )
    tif, tif_source = _pick(
        wanted.time_in_force, settings, defaults, f"time_in_force_{suffix}", product_time_in_force
    )
    return Effective(
        quantity=quantity,
        quantity_type=quantity_type,
        order_type=order_type,
        time_in_force=tif,
        source={
            "quantity": quantity_source,
            "order_type": order_type_source,
            "time_in_force": tif_source,
        },
    )


def _quantity(
    wanted: Wanted, settings: SubscriptionSettings, defaults: Parameters
) -> tuple[Decimal, str, Source]:
    override = settings.override
    if override.quantity is not None and override.quantity_type == "multiplier":
        return override.quantity, "multiplier", "subscription"
    if settings.use_signal_quantity and wanted.quantity is not None:
        return wanted.quantity, wanted.quantity_type, "signal"
    if override.quantity is not None:
        return override.quantity, override.quantity_type or "fixed_quantity", "subscription"
    if defaults.quantity is not None:
        return defaults.quantity, defaults.quantity_type or "fixed_quantity", "strategy"
    return Decimal(1), "fixed_quantity", "product"


def _pick(
    signal_value: str | None,
    settings: SubscriptionSettings,
    defaults: Parameters,
    name: str,
    product: str,
) -> tuple[str, Source]:
    if getattr(settings, f"use_signal_{name}") and signal_value is not None:
        return signal_value, "signal"
    own: str | None = getattr(settings.override, name)
    if own is not None:
        return own, "subscription"
    default: str | None = getattr(defaults, name)
    if default is not None:
        return default, "strategy"
    return product, "product"
