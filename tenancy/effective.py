"""Which value holds, and where it comes from: the overridable rule, most specific first. Pure.

`resolve` settles once, when a snapshot is read, what does not depend on a signal:

1. the subscription's member, where set; 2. else the group's; 3. else the strategy's; 4. else the
product's.

`effective` then takes a signal: `use_signal_X` on and the signal has X: the signal's; else what
was resolved. Spec: signal.md, "Where each parameter comes from". A multiplier is the one override
that does not replace the signal's quantity but scales it, so it holds even where the signal's is
used. A quantity and its type come from one layer, always together.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar

import msgspec

from tenancy.parameters import (
    BEHAVIOURS,
    PARAMETERS,
    BelowMinimum,
    Direction,
    EquityBasis,
    OrdType,
    OverrideQuantityType,
    PositionBasis,
    PositionMismatch,
    PriceRounding,
    QuantityType,
    Rounding,
    TimeInForce,
)
from tenancy.protection import StopLoss, TakeProfit
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings
from tenancy.windows import TradingWindow

Source = Literal["signal", "subscription", "group", "strategy", "product"]
T = TypeVar("T")


class Chosen(msgspec.Struct, Generic[T], frozen=True):
    """A value, and the layer that set it."""

    value: T
    source: Source


class Parameter(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What holds where the signal has no word, or is not listened to."""

    use_signal: bool
    use_signal_source: Source
    value: T
    source: Source


class QuantityParameter(msgspec.Struct, frozen=True, kw_only=True):
    """As Parameter, with the type that the quantity is read by."""

    use_signal: bool
    use_signal_source: Source
    value: Decimal
    quantity_type: QuantityType | OverrideQuantityType
    source: Source


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """All that one subscription's orders are made by, before any signal."""

    quantity: QuantityParameter
    order_type_entry: Parameter[OrdType]
    order_type_exit: Parameter[OrdType]
    time_in_force_entry: Parameter[TimeInForce]
    time_in_force_exit: Parameter[TimeInForce]
    take_profit: Parameter[TakeProfit | None]
    stop_loss: Parameter[StopLoss | None]

    allow_add_to_position: Chosen[bool]
    subtract_exit_quantity: Chosen[bool]
    cancel_open_orders_on_signal: Chosen[bool]
    direction: Chosen[Direction]
    rounding: Chosen[Rounding]
    below_minimum: Chosen[BelowMinimum]
    tickers_allowed: Chosen[tuple[str, ...]]
    tickers_refused: Chosen[tuple[str, ...]]
    symbol_map: Chosen[dict[str, str]]
    trading_windows: Chosen[tuple[TradingWindow, ...]]
    needs_approval: Chosen[bool]
    approval_minutes: Chosen[int]
    allow_side_swap: Chosen[bool]
    price_rounding: Chosen[PriceRounding]
    equity_basis: Chosen[EquityBasis]
    position_basis: Chosen[PositionBasis]
    position_mismatch: Chosen[PositionMismatch]
    closes_when_expired: Chosen[bool]
    invert_puts: Chosen[bool]
    block_ratio: Chosen[Decimal]
    max_spread: Chosen[Decimal | None]
    max_spread_percent: Chosen[Decimal | None]


PRODUCT: dict[str, Any] = {
    "allow_add_to_position": False,
    "subtract_exit_quantity": False,
    "cancel_open_orders_on_signal": True,
    "direction": "both",
    "rounding": "down",
    "below_minimum": "skip",
    "tickers_allowed": (),
    "tickers_refused": (),
    "symbol_map": {},
    "trading_windows": (),
    "needs_approval": False,
    "approval_minutes": 10,
    "allow_side_swap": True,
    "price_rounding": "conservative",
    "equity_basis": "with_unrealised",
    "position_basis": "strategy",
    "position_mismatch": "refuse",
    "closes_when_expired": False,
    "invert_puts": True,
    "block_ratio": Decimal(1),
    "max_spread": None,
    "max_spread_percent": None,
}
"""The last layer. Parameters: quantity 1 `fixed_quantity`, `market`, `day` (crypto: `gtc`), no protection."""


def resolve(
    strategy: StrategySettings,
    group: SubscriptionSettings | None,
    subscription: SubscriptionSettings,
    *,
    asset_class: str,
) -> Resolved:
    """What holds for one subscription. `group`: its account's, if it is in one."""
    own: list[tuple[Source, SubscriptionSettings]] = [("subscription", subscription)]
    if group is not None:
        own.append(("group", group))
    values: dict[str, Any] = {"quantity": _resolve_quantity(own, strategy)}
    for name in PARAMETERS:
        if name == "quantity":
            continue
        use_signal, use_signal_source = _use_signal(own, name)
        value, source = _resolve_parameter(own, strategy, name, asset_class)
        values[name] = Parameter(
            use_signal=use_signal, use_signal_source=use_signal_source, value=value, source=source
        )
    layers: list[tuple[Source, Any]] = [*own, ("strategy", strategy)]
    for name in BEHAVIOURS:
        value, source = _first(layers, name) or (PRODUCT[name], "product")
        values[name] = Chosen(value, source)
    return Resolved(**values)


def _first(layers: list[tuple[Source, Any]], name: str) -> tuple[Any, Source] | None:
    for source, layer in layers:
        value = getattr(layer, name)
        if value is not None:
            return value, source
    return None


def _use_signal(own: list[tuple[Source, SubscriptionSettings]], name: str) -> tuple[bool, Source]:
    return _first(list(own), f"use_signal_{name}") or (True, "product")


def _resolve_parameter(
    own: list[tuple[Source, SubscriptionSettings]],
    strategy: StrategySettings,
    name: str,
    asset_class: str,
) -> tuple[Any, Source]:
    found = _first(list(own), f"override_{name}")
    if found is not None:
        return found
    default = getattr(strategy, f"default_{name}")
    if default is not None:
        return default, "strategy"
    if name.startswith("time_in_force"):
        return ("gtc" if asset_class == "crypto" else "day"), "product"
    return ("market" if name.startswith("order_type") else None), "product"


def _resolve_quantity(
    own: list[tuple[Source, SubscriptionSettings]], strategy: StrategySettings
) -> QuantityParameter:
    use_signal, use_signal_source = _use_signal(own, "quantity")
    value = Decimal(1)
    kind: QuantityType | OverrideQuantityType | None = None
    holder: Source = "product"
    for source, layer in own:
        if layer.override_quantity is not None:
            value, kind, holder = layer.override_quantity, layer.override_quantity_type, source
            break
    else:
        if strategy.default_quantity is not None:
            value, kind = strategy.default_quantity, strategy.default_quantity_type
            holder = "strategy"
    return QuantityParameter(
        use_signal=use_signal,
        use_signal_source=use_signal_source,
        value=value,
        quantity_type=kind or "fixed_quantity",
        source=holder,
    )


def unresolvable(resolved: Resolved) -> tuple[str, ...]:
    """The parameters that do not use the signal's value and have nothing in its place.

    Saving what would leave a subscription with any is refused, whichever layer it is saved in: an
    order must never fall back to a product value that somebody switched the signal off for.
    """
    return tuple(
        name
        for name in PARAMETERS
        if not getattr(resolved, name).use_signal and getattr(resolved, name).source == "product"
    )


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a signal that inheritance looks at."""

    quantity: Decimal | None
    quantity_type: str
    order_type: OrdType | None
    time_in_force: TimeInForce | None
    take_profit: TakeProfit | None = None
    stop_loss: StopLoss | None = None


class Effective(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one account and one signal, each value with its source."""

    quantity: Decimal
    quantity_type: str
    order_type: OrdType
    time_in_force: TimeInForce
    take_profit: TakeProfit | None
    stop_loss: StopLoss | None
    source: dict[str, Source]


def effective(wanted: Wanted, resolved: Resolved, *, exit: bool) -> Effective:
    """The values for one account. `exit`: the order closes a position, and protects nothing."""
    source: dict[str, Source] = {}
    quantity, quantity_type, source["quantity"] = _quantity(wanted, resolved.quantity)
    suffix = "exit" if exit else "entry"
    order_type, source["order_type"] = _pick(
        wanted.order_type, getattr(resolved, f"order_type_{suffix}")
    )
    time_in_force, source["time_in_force"] = _pick(
        wanted.time_in_force, getattr(resolved, f"time_in_force_{suffix}")
    )
    take_profit, stop_loss = None, None
    if not exit:
        take_profit, protected_by = _pick(wanted.take_profit, resolved.take_profit)
        stop_loss, stopped_by = _pick(wanted.stop_loss, resolved.stop_loss)
        if take_profit is not None:
            source["take_profit"] = protected_by
        if stop_loss is not None:
            source["stop_loss"] = stopped_by
    return Effective(
        quantity=quantity,
        quantity_type=quantity_type,
        order_type=order_type,
        time_in_force=time_in_force,
        take_profit=take_profit,
        stop_loss=stop_loss,
        source=source,
    )


def _quantity(wanted: Wanted, own: QuantityParameter) -> tuple[Decimal, str, Source]:
    scales = own.quantity_type in ("multiplier", "equity_ratio") and own.source != "strategy"
    if own.use_signal and wanted.quantity is not None and not scales:
        return wanted.quantity, wanted.quantity_type, "signal"
    return own.value, own.quantity_type, own.source


def _pick(asked: T | None, own: Parameter[T]) -> tuple[T, Source]:
    if own.use_signal and asked is not None:
        return asked, "signal"
    return own.value, own.source
