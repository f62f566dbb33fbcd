"""The signal language: one JSON object, strictly decoded. Spec: signal.md, field by field.

Decoding is pure: bytes in, a Signal or one InvalidSignal out that names the field, the value and
what would be right. Unknown fields are refused by name: typos lose money.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from fanout.order import OrdType, TimeInForce
from tenancy import protection
from tenancy.errors import Invalid
from tenancy.parameters import QuantityType
from tenancy.protection import exactly_one, positive_members

Action = Literal["buy", "sell", "exit", "add", "cancel", "reverse", "target"]
"""`reverse` closes the position and opens as much on the other side; `target` goes with targetPosition."""
TargetType = Literal["contracts", "percent_of_equity"]
Sentiment = Literal["bullish", "long", "bearish", "short", "flat"]

MAX_BYTES = 64 * 1024


class InvalidSignal(Invalid):
    """The signal cannot be used; `field` is a JSON path such as `$.stopLoss.percent`."""

    code = "invalid_signal"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class TakeProfit(
    protection.TakeProfit,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename="camel",
):
    """As in settings, under the signal language's names."""

    limit_price: Decimal | None = None
    percent: Decimal | None = None
    amount: Decimal | None = None


class StopLoss(
    protection.StopLoss, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"
):
    """As in settings, under the signal language's names."""

    type: protection.StopType = "stop"
    percent: Decimal | None = None
    amount: Decimal | None = None
    stop_price: Decimal | None = None
    limit_price: Decimal | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    breakeven_percent: Decimal | None = None
    breakeven_amount: Decimal | None = None


class Signal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """What the sender wants, before any account is looked at."""

    ticker: str
    action: Action
    sentiment: Sentiment | None = None
    signal_price: Decimal | None = None
    price: Decimal | None = None  # another name of signalPrice
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    quantity: Decimal | None = None
    quantity_type: QuantityType = "fixed_quantity"
    order_type: OrdType | None = None
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    time_in_force: TimeInForce | None = None
    extended_hours: bool | None = None
    time: datetime | int | float | None = None
    ignore_trading_windows: bool = False
    cancel: bool | None = None
    take_profit: TakeProfit | None = None
    stop_loss: StopLoss | None = None
    option_type: Literal["both", "call", "put"] | None = None
    intrinsic_value: Literal["itm", "otm"] | None = None
    expiration: str | None = None  # a date, or "+6 months"
    strike_count: int | None = None
    strikes_away: int | None = None
    strike_price: Decimal | None = None
    delay: int | float | str | None = None  # seconds, "+5 minutes" or a time; at most 24 h
    cancel_after: int | None = None  # seconds; what is still open then is cancelled
    expires_at: datetime | int | float | None = None  # from then on nothing is opened
    bid_ask_spread_filter: Decimal | None = None  # the most that bid and ask may be apart, in price
    bid_ask_spread_filter_percent: Decimal | None = None
    expected_position: Decimal | None = None  # signed; what the sender believes to be held
    target_position: Decimal | None = None  # signed; 0 is flat
    target_position_type: TargetType = "contracts"
    extras: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.ticker) <= 50 or not self.ticker.isprintable():
            raise ValueError("ticker: 1 to 50 printable characters are needed")
        positive_members(
            self, "signal_price", "price", "limit_price", "stop_price", "quantity",
            "trail_amount", "trail_percent", "strike_price",
        )  # fmt: skip
        if self.price is not None and self.signal_price not in (None, self.price):
            raise ValueError("price and signalPrice are two names of one thing and differ")
        if self.order_type == "trailing_stop":
            exactly_one(self, "trail_amount", "trail_percent")
        if self.quantity_type in ("risk_dollar_amount", "risk_percent") and self.stop_loss is None:
            raise ValueError(f"quantityType {self.quantity_type} needs a stopLoss")

    @property
    def reference_price(self) -> Decimal | None:
        """The market price when the signal fired, if the sender said it."""
        return self.signal_price if self.signal_price is not None else self.price


_DECODER = msgspec.json.Decoder(Signal, strict=True)


def decode(body: bytes) -> Signal:
    """The signal that `body` says.

    Raises InvalidSignal: not JSON, unknown or missing field, wrong type, out of range.
    """
    if len(body) > MAX_BYTES:
        raise InvalidSignal("", f"the body has {len(body)} bytes; at most {MAX_BYTES} are read")
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise _translated(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSignal("", f"the body is not JSON: {error}") from None
    except RecursionError:
        raise InvalidSignal("", "the body is nested too deeply") from None


def _translated(error: msgspec.ValidationError) -> InvalidSignal:
    message, _, path = str(error).partition(" - at `")
    path = path.rstrip("`")
    if not path.endswith("...") and message.startswith("Object contains unknown field"):
        name = message.split("`")[1]
        return InvalidSignal(
            f"{path or '$'}.{name}",
            "is not a field of the signal language; free data goes into extras",
        )
    if message.startswith("Object missing required field"):
        name = message.split("`")[1]
        return InvalidSignal(f"{path or '$'}.{name}", "is required")
    return InvalidSignal(path or "$", message)
