"""The signal language: one JSON object, strictly decoded. Spec: signal.md, field by field.

Decoding is pure: bytes in, a Signal or one InvalidSignal out that names the field, the value and
what would be right. Unknown fields are refused by name: typos lose money.

1. Bytes to plain values (fanout/signal_text.py): exact numbers, also where they come as text.
2. Plain values to a Signal: which fields there are, and their types.
3. What fields say together (`__post_init__`): only what is wrong for every account is refused
   here. What one account lacks (a price, a stop, an option) is that account's reason in the plan.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import msgspec

from fanout import signal_text as text
from fanout.order import OrdType, Side, TimeInForce
from fanout.signal_text import Misread, shown
from tenancy import protection
from tenancy.errors import Invalid
from tenancy.parameters import QuantityType
from tenancy.protection import exactly_one, positive_members, wire_name
from tenancy.values import exact

Action = Literal["buy", "sell", "exit", "add", "cancel", "reverse", "target"]
"""`reverse` closes the position and opens as much on the other side; `target` goes with targetPosition."""
Sentiment = Literal["bullish", "long", "bearish", "short", "flat"]
TargetType = Literal["contracts", "percent_of_equity"]

MAX_BYTES = 64 * 1024
CANCEL_AFTER_MAX_S = 3600
STRIKES_MAX = 200


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
    """What the sender wants, before any account is looked at. Prices and quantities are exact."""

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
    time: datetime | None = None  # when the signal was made, UTC
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
    delay: timedelta | None = None  # at most 24 h
    cancel_after: int | None = None  # seconds; what is still open then is cancelled
    expires_at: datetime | None = None  # from then on nothing is opened, UTC
    bid_ask_spread_filter: Decimal | None = None  # the most that bid and ask may be apart, in price
    bid_ask_spread_filter_percent: Decimal | None = None
    expected_position: Decimal | None = None  # signed; what the sender believes to be held
    target_position: Decimal | None = None  # signed; 0 is flat
    target_position_type: TargetType = "contracts"
    extras: dict[str, Any] | None = None
    delayed_until: datetime | None = None
    """A `delay` that was said as a moment. Not a field of the language."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.ticker) <= 50 or not self.ticker.isprintable():
            raise ValueError("ticker: 1 to 50 printable characters are needed")
        if self.ticker != self.ticker.strip():
            raise ValueError("ticker: no space before or after it")
        positive_members(self, *_POSITIVE)
        for name in ("expected_position", "target_position"):
            value = getattr(self, name)
            if value is not None:
                exact(value, wire_name(self, name))
        self._check_prices()
        self._check_what_is_wanted()
        self._check_bounds()

    def _check_prices(self) -> None:
        if self.price is not None and self.signal_price not in (None, self.price):
            raise ValueError(
                "price: another name of signalPrice, and the two differ; send one of them"
            )
        if self.order_type == "trailing_stop":
            exactly_one(self, "trail_amount", "trail_percent")
        elif self.order_type is not None:
            for name in ("trail_amount", "trail_percent"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{wire_name(self, name)}: a {self.order_type} order does not trail;"
                        " use trailing_stop"
                    )
        elif self.trail_amount is not None and self.trail_percent is not None:
            raise ValueError("trailPercent: trailAmount is there already; send one of them")
        if self.order_type in ("market", "stop", "trailing_stop") and self.limit_price is not None:
            raise ValueError(
                f"limitPrice: a {self.order_type} order has none; use limit or stop_limit"
            )
        if self.order_type in ("market", "limit", "trailing_stop") and self.stop_price is not None:
            raise ValueError(
                f"stopPrice: a {self.order_type} order has none; use stop or stop_limit"
            )

    def _check_what_is_wanted(self) -> None:
        if self.action == "target" and self.target_position is None:
            raise ValueError("targetPosition: is needed with action target")
        if self.target_position is not None:
            if self.quantity is not None:
                raise ValueError("quantity: targetPosition says how much already; send one of them")
            if self.expected_position is not None:
                raise ValueError(
                    "expectedPosition: says nothing beside targetPosition, which heeds no history"
                )
        elif self.action in ("buy", "sell") and self.option_type is None:
            side = side_of_sentiment(self)
            if side not in (None, self.action) and self.quantity is None:
                raise ValueError(
                    f"sentiment: {self.sentiment} is against action {self.action}; to close a part,"
                    " say which quantity; to close all, send sentiment flat or action exit"
                )

    def _check_bounds(self) -> None:
        for name, least, most in (
            ("cancel_after", 1, CANCEL_AFTER_MAX_S),
            ("strike_count", 1, STRIKES_MAX),
            ("strikes_away", 0, STRIKES_MAX),
        ):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{wire_name(self, name)}: from {least} to {most}, got {value}")
        if self.strike_price is not None and self.strikes_away is not None:
            raise ValueError("strikesAway: strikePrice says the strike already; send one of them")

    @property
    def reference_price(self) -> Decimal | None:
        """The market price when the signal fired, if the sender said it."""
        return self.signal_price if self.signal_price is not None else self.price

    def due(self, received_at: datetime) -> datetime | None:
        """When it is to be planned, if not at once. Raises InvalidSignal for a moment over 24 h away."""
        if self.delayed_until is not None:
            if self.delayed_until - received_at > text.DELAY_MAX:
                raise InvalidSignal("$.delay", "at most 24 hours from now")
            return self.delayed_until if self.delayed_until > received_at else None
        return received_at + self.delay if self.delay else None


def side_of_sentiment(signal: Signal) -> Side | None:
    """The side of the position that the sender wants to see afterwards."""
    if signal.sentiment in ("bullish", "long"):
        return "buy"
    return "sell" if signal.sentiment in ("bearish", "short") else None


_POSITIVE = (
    "signal_price", "price", "limit_price", "stop_price", "quantity", "trail_amount", "trail_percent",
    "strike_price", "bid_ask_spread_filter", "bid_ask_spread_filter_percent",
)  # fmt: skip
_FIELDS = tuple(n for n in Signal.__struct_encode_fields__ if n != "delayedUntil")
_ATTACHED = {
    "takeProfit": TakeProfit.__struct_encode_fields__,
    "stopLoss": StopLoss.__struct_encode_fields__,
}
_READERS: dict[str, Callable[[Any, str], Any]] = {
    **{
        wire: text.number
        for wire, name in zip(
            Signal.__struct_encode_fields__, Signal.__struct_fields__, strict=True
        )
        if name in (*_POSITIVE, "expected_position", "target_position")
    },
    **dict.fromkeys(("cancelAfter", "strikeCount", "strikesAway"), text.whole),
    **dict.fromkeys(("extendedHours", "ignoreTradingWindows", "cancel"), text.switch),
    **dict.fromkeys(("time", "expiresAt"), text.moment),
    "expiration": text.expiration,
}


def _choices(struct: type, path: str = "$") -> dict[str, tuple[str, ...]]:
    """The words that each member of a closed list may be, by path."""
    found: dict[str, tuple[str, ...]] = {}
    for field in msgspec.inspect.type_info(struct).fields:  # type: ignore[attr-defined]
        for kind in getattr(field.type, "types", (field.type,)):
            if isinstance(kind, msgspec.inspect.LiteralType):
                found[f"{path}.{field.encode_name}"] = tuple(map(str, kind.values))
            elif isinstance(kind, msgspec.inspect.StructType):
                found |= _choices(kind.cls, f"{path}.{field.encode_name}")
    return found


_CHOICES = _choices(Signal)


def decode(body: bytes) -> Signal:
    """The signal that `body` says.

    Raises InvalidSignal: not JSON, unknown, missing or repeated field, wrong type, out of range.
    """
    if len(body) > MAX_BYTES:
        raise InvalidSignal("", f"the body has {len(body)} bytes; at most {MAX_BYTES} are read")
    try:
        return msgspec.convert(_plain(text.read_object(body)), Signal)
    except Misread as error:
        raise InvalidSignal(error.path, str(error)) from None
    except RecursionError:
        raise InvalidSignal("", "the body is nested too deeply") from None
    except msgspec.ValidationError as error:
        raise _translated(error) from None


def _plain(said: dict[str, Any]) -> dict[str, Any]:
    """The members as a Signal's own types. Null is as good as left out. Raises Misread."""
    members: dict[str, Any] = {}
    for name, value in said.items():
        if name not in _FIELDS:
            raise Misread(text.member("$", name), _unknown(name, _FIELDS))
        if value is None:
            continue
        reader = _READERS.get(name)
        members[name] = value if reader is None else reader(value, f"$.{name}")
    for name, known in _ATTACHED.items():
        if isinstance(members.get(name), dict):
            members[name] = _attached(members[name], f"$.{name}", known)
    if "delay" in members:
        wait = text.delay(members.pop("delay"), "$.delay")
        members["delay" if isinstance(wait, timedelta) else "delayedUntil"] = wait
    if "targetPosition" in members:
        members["action"] = "target"  # templates always send an action: the target says more
    return members


def _attached(said: dict[str, Any], path: str, known: tuple[str, ...]) -> dict[str, Any]:
    """The members of takeProfit or stopLoss. Raises Misread."""
    members = {}
    for name, value in said.items():
        at = text.member(path, name)
        if name not in known:
            raise Misread(at, _unknown(name, known))
        if value is not None:
            members[name] = value if name == "type" else text.number(value, at)
    return members


def _unknown(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name[:60], known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"is not a field of the signal language{hint}; free data goes into extras"


def _translated(error: msgspec.ValidationError) -> InvalidSignal:
    message, at, path = str(error).rpartition(
        " - at `"
    )  # the last one: what was sent may say it too
    message, path = (message, path.rstrip("`")) if at else (str(error), "$")
    if message.startswith("Object missing required field"):
        name = message.split("`")[1]
        return InvalidSignal(f"{path}.{name}", "is required")
    if message.startswith("Invalid enum value"):
        found = shown(message.removeprefix("Invalid enum value ")[1:-1])
        return InvalidSignal(path, f"one of {', '.join(_CHOICES[path])} is needed; found {found}")
    member, colon, about = message.partition(": ")
    if colon and member.isidentifier():  # a check of the struct's own, which names its member
        return InvalidSignal(f"{path}.{member}", about)
    return InvalidSignal(path, message)
