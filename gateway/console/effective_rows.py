"""What holds for one subscription, line by line, against what the strategy alone would say. Pure.

The strategy's side is resolved by the function that plans are made by (tenancy/effective.py), from the settings
that the API shows: so a difference is one of values, not of who happened to write them down.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tenancy.effective import resolve
from tenancy.strategy import StrategySettings
from tenancy.subscription import SubscriptionSettings


class Row(NamedTuple):
    """`value` holds, and `layer` says it; `default` is the strategy's. `signal`: a signal's own value comes before
    it; None where a signal has no word in it. `differs`: the value does, or whether the signal is listened to."""

    name: str
    value: Any
    layer: str
    signal: bool | None
    default: Any
    differs: bool


def setting_rows(effective: Mapping[str, Any], strategy: Mapping[str, Any]) -> list[Row]:
    """Every setting in the API's order, with the strategy's own value beside it."""
    own = _alone(strategy)
    return [_row(name, said, own[name]) for name, said in effective["settings"].items()]


def limit_rows(effective: Mapping[str, Any]) -> list[Row]:
    """Every limit that some layer sets; the tightest holds, so there is no default to differ from."""
    return [
        Row(name, said["value"], said["source"], None, None, differs=False)
        for name, said in effective["limits"].items()
        if said is not None
    ]


def _alone(strategy: Mapping[str, Any]) -> dict[str, Any]:
    settings = msgspec.convert(strategy["settings"], StrategySettings, strict=False)
    made = resolve(settings, None, SubscriptionSettings(), asset_class=strategy["asset_class"])
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))
    return plain


def _row(name: str, said: Mapping[str, Any], own: Mapping[str, Any]) -> Row:
    listens = said.get("use_signal")
    return Row(
        name, _value(said), said["source"], listens, _value(own),
        differs=_value(said) != _value(own) or listens != own.get("use_signal"),
    )  # fmt: skip


def _value(said: Mapping[str, Any]) -> Any:
    """A quantity with its type; anything else alone."""
    if "quantity_type" in said:
        return {"quantity": said["value"], "type": said["quantity_type"]}
    return said["value"]
