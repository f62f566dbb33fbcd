"""An order: how it is read from a request, and what the venue remembers of it.

The `text` rules are Gate's: empty, or `t-` and at most 28 more bytes of [0-9A-Za-z_.-]. It need
not be unique.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Literal

import msgspec

from loadtest.exchanges.gateio.refusal import Refusal, invalid

TEXT = re.compile(r"t-[0-9A-Za-z_.\-]{1,28}")
TIFS = ("gtc", "ioc", "poc", "fok")
ZERO = Decimal(0)

Number = int | float | str


class _Body(msgspec.Struct):
    """The JSON as sent. Sizes and prices come as strings or numbers; unknown fields are ignored."""

    contract: str
    size: Number | None = None
    price: Number | None = None
    tif: str | None = None
    text: str | None = None
    reduce_only: bool | None = None
    close: bool | None = None
    iceberg: Number | None = None
    auto_size: str | None = None
    stp_act: str | None = None
    market_order_slip_ratio: str | None = None


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A well-formed request for an order. `size` is signed; `price` zero is a market order."""

    contract: str
    size: Decimal
    price: Decimal
    tif: str
    text: str
    reduce_only: bool
    close: bool
    iceberg: Decimal
    slip_ratio: Decimal | None


class Arrival(msgspec.Struct, frozen=True):
    """When a request reached us: a count over all requests, and both clocks in seconds."""

    index: int
    monotonic: float
    wall: float


class Order(msgspec.Struct, kw_only=True, eq=False):
    """One order in the venue's memory. `size` and `left` carry the side's sign."""

    id: int
    uid: int
    key: str
    contract: str
    size: Decimal
    left: Decimal
    price: Decimal
    tif: str
    text: str
    reduce_only: bool
    close: bool
    iceberg: Decimal
    maker_fee_rate: Decimal
    taker_fee_rate: Decimal
    create_time: float
    executed_monotonic: float
    arrival: Arrival
    update_time: float = 0.0
    finish_time: float | None = None
    finish_as: str | None = None
    value: Decimal = ZERO  # sum of price times contracts filled
    margin_each: Decimal = ZERO  # margin held back per contract left
    resting: bool = False  # on the book

    @property
    def is_buy(self) -> bool:
        return self.size > 0

    @property
    def status(self) -> Literal["open", "finished"]:
        return "open" if self.finish_as is None else "finished"

    @property
    def filled(self) -> Decimal:
        """Contracts filled, at least zero."""
        return abs(self.size - self.left)

    def finish(self, finish_as: str, now: float) -> None:
        self.finish_as = finish_as
        self.finish_time = self.update_time = now


_one = msgspec.json.Decoder(_Body)
_many = msgspec.json.Decoder(list[_Body])


def read_order(body: bytes) -> NewOrder:
    """Raises Refusal INVALID_REQUEST_BODY, MISSING_REQUIRED_PARAM or INVALID_PARAM_VALUE."""
    try:
        return _well_formed(_one.decode(body))
    except msgspec.DecodeError as error:
        raise _unreadable(error) from None


def read_batch(body: bytes) -> list[NewOrder]:
    """One to ten orders; one malformed element fails all. Raises as read_order does."""
    try:
        bodies = _many.decode(body)
    except msgspec.DecodeError as error:
        raise _unreadable(error) from None
    if not 1 <= len(bodies) <= 10:
        raise Refusal("INVALID_PARAM_VALUE", "a batch has 1 to 10 orders")
    return [_well_formed(body) for body in bodies]


def _unreadable(error: msgspec.DecodeError) -> Refusal:
    if "missing required field" in str(error):
        return Refusal("MISSING_REQUIRED_PARAM", "Missing required parameter: contract")
    label = (
        "INVALID_PARAM_VALUE"
        if isinstance(error, msgspec.ValidationError)
        else "INVALID_REQUEST_BODY"
    )
    return Refusal(label, f"Invalid request body: {error}")


def _number(name: str, value: Number | None) -> Decimal:
    if value is None:
        return ZERO
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise invalid(name, value) from None
    if not number.is_finite():
        raise invalid(name, value)
    return number


def _well_formed(body: _Body) -> NewOrder:
    size = _number("size", body.size)
    price = _number("price", body.price)
    tif = body.tif or "gtc"
    if body.size is None and not body.close:
        raise Refusal("MISSING_REQUIRED_PARAM", "Missing required parameter: size")
    if tif not in TIFS:
        raise invalid("tif", body.tif)
    if price < 0 or (price == 0 and tif not in ("ioc", "fok")):
        raise invalid("price", body.price)
    if body.text and not TEXT.fullmatch(body.text):
        raise invalid("text", body.text)
    if body.close and size != 0:
        raise invalid("size", body.size)
    if size == 0 and not body.close:
        raise invalid("size", body.size)
    if body.auto_size is not None:
        raise invalid("auto_size", body.auto_size)  # needs hedge mode
    if body.stp_act not in (None, "", "-"):
        raise invalid("stp_act", body.stp_act)  # needs membership of an STP group
    slip = body.market_order_slip_ratio
    return NewOrder(
        contract=body.contract,
        size=size,
        price=price,
        tif=tif,
        text=body.text or "api",
        reduce_only=bool(body.reduce_only),
        close=bool(body.close),
        iceberg=_number("iceberg", body.iceberg),
        slip_ratio=_number("market_order_slip_ratio", slip) if slip else None,
    )
