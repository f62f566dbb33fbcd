"""A subscription ties a strategy to an account and says of each parameter: the signal's, or mine."""

from __future__ import annotations

from typing import Literal

import msgspec

from tenancy.strategy import Parameters

Rounding = Literal["down", "nearest", "up"]


class SubscriptionSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What one account does with one strategy's signals. Spec: signal.md (inheritance), sizing.md.

    `override.quantity_type = "multiplier"` makes `override.quantity` the factor on the signal's
    own quantity.
    """

    use_signal_quantity: bool = True
    use_signal_order_type_entry: bool = True
    use_signal_order_type_exit: bool = True
    use_signal_time_in_force_entry: bool = True
    use_signal_time_in_force_exit: bool = True
    override: Parameters = Parameters()

    allow_add_to_position: bool = False
    subtract_exit_quantity: bool = False
    cancel_open_orders_on_signal: bool = True
    direction: Literal["both", "long", "short"] = "both"
    rounding: Rounding = "down"
    below_minimum: Literal["skip", "raise"] = "skip"
    tickers_allowed: tuple[str, ...] = ()
    tickers_refused: tuple[str, ...] = ()
    symbol_map: dict[str, str] = {}


PARAMETERS = (
    "quantity",
    "order_type_entry",
    "order_type_exit",
    "time_in_force_entry",
    "time_in_force_exit",
)


def unresolvable(settings: SubscriptionSettings, defaults: Parameters) -> tuple[str, ...]:
    """The parameters that do not use the signal's value and have nothing in its place.

    Saving a subscription with any is refused: an order must never fall back to a product
    default that somebody switched the signal off for.
    """
    return tuple(
        name
        for name in PARAMETERS
        if not getattr(settings, f"use_signal_{name}")
        and getattr(settings.override, name) is None
        and getattr(defaults, name) is None
    )
