"""A signal, field by field, and the bytes that say it.

Names are the signal language's in snake_case (`take_profit` is sent as `takeProfit`). Numbers are
`Decimal`, `int` or text, and travel as text: every digit arrives. A float is refused, for 0.1 is
not what a float holds. Which fields go together is the gateway's to say: `InvalidSignal.problem`
names the field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

Exact = Decimal | int | str
Action = Literal["buy", "sell", "exit", "add", "cancel", "reverse", "target"]
Sentiment = Literal["bullish", "long", "bearish", "short", "flat"]
QuantityType = Literal[
    "fixed_quantity", "dollar_amount", "risk_dollar_amount", "risk_percent",
    "percent_of_equity", "percent_of_position", "equity_ratio", "block_equal", "block_net_liq",
    "block_available", "block_ratio",
]  # fmt: skip
OrderType = Literal["market", "limit", "stop", "stop_limit", "trailing_stop"]
TimeInForce = Literal["day", "gtc", "opg", "cls", "ioc", "fok"]

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_EXACT = frozenset({
    "signal_price", "limit_price", "stop_price", "quantity", "trail_amount", "trail_percent",
    "strike_price", "bid_ask_spread_filter", "bid_ask_spread_filter_percent", "expected_position",
    "target_position", "percent", "amount", "breakeven_percent", "breakeven_amount",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeProfit:
    """Exactly one of the three."""

    limit_price: Exact | None = None
    percent: Exact | None = None
    amount: Exact | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopLoss:
    """One of percent, amount, stop_price; `limit_price` for stop_limit; a trail for trailing_stop."""

    type: Literal["stop", "stop_limit", "trailing_stop"] = "stop"
    percent: Exact | None = None
    amount: Exact | None = None
    stop_price: Exact | None = None
    limit_price: Exact | None = None
    trail_amount: Exact | None = None
    trail_percent: Exact | None = None
    breakeven_percent: Exact | None = None
    breakeven_amount: Exact | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What the strategy wants. None is left out, and the subscription's own setting holds."""

    ticker: str
    action: Action
    sentiment: Sentiment | None = None
    signal_price: Exact | None = None
    limit_price: Exact | None = None
    stop_price: Exact | None = None
    quantity: Exact | None = None
    quantity_type: QuantityType | None = None
    order_type: OrderType | None = None
    trail_amount: Exact | None = None
    trail_percent: Exact | None = None
    time_in_force: TimeInForce | None = None
    extended_hours: bool | None = None
    time: datetime | int | None = None
    """When the signal was made; an int is Unix seconds or milliseconds."""
    ignore_trading_windows: bool | None = None
    cancel: bool | None = None
    take_profit: TakeProfit | None = None
    stop_loss: StopLoss | None = None
    option_type: Literal["both", "call", "put"] | None = None
    intrinsic_value: Literal["itm", "otm"] | None = None
    expiration: date | str | None = None
    """A date, or "+6 months"."""
    strike_count: int | None = None
    strikes_away: int | None = None
    strike_price: Exact | None = None
    delay: timedelta | datetime | int | str | None = None
    """How long to wait, or until when: seconds, "+5 minutes" or a moment; at most 24 h."""
    cancel_after: timedelta | int | None = None
    """Seconds, 1 to 3,600."""
    expires_at: datetime | int | None = None
    bid_ask_spread_filter: Exact | None = None
    bid_ask_spread_filter_percent: Exact | None = None
    expected_position: Exact | None = None
    target_position: Exact | None = None
    target_position_type: Literal["contracts", "percent_of_equity"] | None = None
    extras: Mapping[str, object] | None = None

    def wire(self) -> dict[str, Any]:
        """The JSON object, in the order of the fields.

        Raises TypeError for a float, ValueError for what is no number or a time without a zone.
        """
        return _object(self)

    def body(self) -> bytes:
        """The bytes to sign and to send. Raises as wire() does."""
        return json.dumps(self.wire(), ensure_ascii=False, allow_nan=False, default=_extra).encode()


def exact(value: Exact, name: str) -> str:
    """`value` as plain decimal text, every digit kept. Raises TypeError for floats, ValueError."""
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise TypeError(f"{name}: Decimal, int or text is needed, not {type(value).__name__}")
    if isinstance(value, str) and _NUMBER.fullmatch(value) is None:
        raise ValueError(f"{name}: {value!r} is no decimal number")
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{name}: {value} is no finite number")
    return format(number, "f")


def _object(it: Signal | TakeProfit | StopLoss) -> dict[str, Any]:
    said = ((field.name, getattr(it, field.name)) for field in fields(it))
    return {_camel(name): _value(name, value) for name, value in said if value is not None}


def _value(name: str, value: Any) -> Any:
    if name in _EXACT:
        return exact(value, name)
    if isinstance(value, TakeProfit | StopLoss):
        return _object(value)
    if isinstance(value, timedelta):
        return _whole_seconds(name, value)
    if isinstance(value, datetime):
        return _moment(name, value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        raise TypeError(f"{name}: a float is not exact")
    return dict(value) if isinstance(value, Mapping) else value


def _whole_seconds(name: str, value: timedelta) -> int:
    seconds, rest = divmod(value, timedelta(seconds=1))
    if rest:
        raise ValueError(f"{name}: whole seconds are needed")
    return seconds


def _moment(name: str, value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError(f"{name}: a time needs its zone, such as datetime.now(UTC)")
    return value.isoformat()


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _extra(value: object) -> str:
    """Inside extras: what JSON does not have, as text."""
    if isinstance(value, Decimal | datetime | date):
        return str(value)
    raise TypeError(f"extras: {type(value).__name__} has no place in JSON")
