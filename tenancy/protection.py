"""Take profit and stop loss: the shapes that the signal language and the settings share.

Spec: signal.md. Settings name the members in snake_case, signals in camelCase (fanout/signal.py
declares the fields once more, for a `rename` reaches only a class's own fields). What each type
needs is checked here for both, and messages name a member as its own document does.
"""

from __future__ import annotations

from functools import cache
from typing import ClassVar, Literal

import msgspec

from tenancy.rules import Schema, given, one_given
from tenancy.values import Positive, positive

StopType = Literal["stop", "stop_limit", "trailing_stop"]


class TakeProfit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Exactly one of the three. Percent and amount count from the fill price."""

    limit_price: Positive | None = None
    percent: Positive | None = None
    amount: Positive | None = None

    rules: ClassVar[Schema] = {"oneOf": one_given("limit_price", "percent", "amount")}

    def __post_init__(self) -> None:
        positive_members(self, "limit_price", "percent", "amount")
        exactly_one(self, "limit_price", "percent", "amount")


class StopLoss(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the loss is stopped."""

    type: StopType = "stop"
    percent: Positive | None = None
    amount: Positive | None = None
    stop_price: Positive | None = None
    limit_price: Positive | None = None
    trail_amount: Positive | None = None
    trail_percent: Positive | None = None
    breakeven_percent: Positive | None = None
    """Once the market has gone so far in favour, the stop stands at the entry's price, if that is nearer."""
    breakeven_amount: Positive | None = None

    rules: ClassVar[Schema] = {
        "anyOf": [
            *one_given("percent", "amount", "stop_price", type={"const": "stop"}),
            *one_given(
                "percent", "amount", "stop_price",
                also=given("limit_price", "type", type={"const": "stop_limit"}),
            ),
            *one_given(
                "trail_amount", "trail_percent", also=given("type", type={"const": "trailing_stop"})
            ),
        ]
    }  # fmt: skip

    def __post_init__(self) -> None:
        positive_members(
            self, "percent", "amount", "stop_price", "limit_price", "trail_amount", "trail_percent",
            "breakeven_percent", "breakeven_amount",
        )  # fmt: skip
        if self.breakeven_percent is not None and self.breakeven_amount is not None:
            raise ValueError(
                f"{wire_name(self, 'breakeven_percent')} and {wire_name(self, 'breakeven_amount')}"
                " are two ways to say one thing: one of them is needed, not both"
            )
        if self.type == "trailing_stop":
            exactly_one(self, "trail_amount", "trail_percent")
        else:
            exactly_one(self, "percent", "amount", "stop_price")
        if self.type == "stop_limit" and self.limit_price is None:
            raise ValueError(f"stop_limit needs {wire_name(self, 'limit_price')}")


def wire_name(struct: msgspec.Struct, field: str) -> str:
    """What the struct's own document calls the field."""
    return _wire_names(type(struct))[field]


@cache
def _wire_names(struct: type[msgspec.Struct]) -> dict[str, str]:
    return dict(zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True))


def positive_members(struct: msgspec.Struct, *names: str) -> None:
    """Raises ValueError, naming the member, where one is set and is not a number above zero."""
    for name in names:
        value = getattr(struct, name)
        if value is not None:
            positive(value, wire_name(struct, name))


def exactly_one(struct: msgspec.Struct, *names: str) -> None:
    """Raises ValueError, naming them, unless one of the members is set and no other."""
    given = [wire_name(struct, name) for name in names if getattr(struct, name) is not None]
    if len(given) != 1:
        wanted = ", ".join(wire_name(struct, name) for name in names)
        raise ValueError(f"exactly one of {wanted} is needed; found {', '.join(given) or 'none'}")
