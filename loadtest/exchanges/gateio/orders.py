"""An order: how it is read from a request, and what the venue remembers of it.

The `text` rules are Gate's: empty, or `t-` and at most 28 more bytes of [0-9A-Za-z_.-]. It need
not be unique.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import Literal

import msgspec

from loadtest.exchanges.gateio.positions import ZERO, Leg
from loadtest.exchanges.gateio.refusal import Refusal, invalid

TEXT = re.compile(r"t-[0-9A-Za-z_.\-]{1,28}")
TIFS = ("gtc", "ioc", "poc", "fok")
AUTO_SIZES = ("close_long", "close_short")

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
    auto_size: str | None = None


class Arrival(msgspec.Struct, frozen=True):
    """When a request reached us: a count over all requests, and both clocks in seconds."""

    index: int
    monotonic: float
    wall: float


class Order(msgspec.Struct, kw_only=True, eq=False):
    """One order in the venue's memory. `size` and `left` carry the side's sign."""

    id: int
    queue: int  # its place in time among those of its price
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
    leg: Leg = "single"
    auto_size: str | None = None
    amend_text: str = "-"
    update_id: int = 1

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

    @property
    def reducing(self) -> bool:
        """May only bring its position nearer to zero."""
        return self.reduce_only or self.close or self.auto_size is not None

    def finish(self, finish_as: str, now: float) -> None:
        self.finish_as = finish_as
        self.finish_time = self.update_time = now


_one = msgspec.json.Decoder(_Body)
_many = msgspec.json.Decoder(list[_Body])


def read_order(body: bytes, source: str = "api") -> NewOrder:
    """`source`: the text of an order that has none of its own.

    Raises Refusal INVALID_REQUEST_BODY, MISSING_REQUIRED_PARAM or INVALID_PARAM_VALUE.
    """
    try:
        return _well_formed(_one.decode(body), source)
    except msgspec.DecodeError as error:
        raise unreadable(error) from None


def read_batch(body: bytes, source: str = "api") -> list[NewOrder]:
    """One to ten orders; one malformed element fails all. Raises as read_order does."""
    try:
        bodies = _many.decode(body)
    except msgspec.DecodeError as error:
        raise unreadable(error) from None
    if not 1 <= len(bodies) <= 10:
        raise Refusal("INVALID_PARAM_VALUE", "a batch has 1 to 10 orders")
    return [_well_formed(body, source) for body in bodies]


def unreadable(error: msgspec.DecodeError) -> Refusal:
    """Gate's label for a body that cannot be read."""
    said = str(error)
    if "missing required field" in said:
        name = said.partition("`")[2].partition("`")[0]
        return Refusal("MISSING_REQUIRED_PARAM", f"Missing required parameter: {name}")
    label = (
        "INVALID_PARAM_VALUE"
        if isinstance(error, msgspec.ValidationError)
        else "INVALID_REQUEST_BODY"
    )
    return Refusal(label, f"Invalid request body: {error}")


def number(name: str, value: Number | None) -> Decimal:
    """None is zero. Raises INVALID_PARAM_VALUE for what is no finite number."""
    if value is None:
        return ZERO
    try:
        read = Decimal(str(value))
    except InvalidOperation:
        raise invalid(name, value) from None
    if not read.is_finite():
        raise invalid(name, value)
    return read


def _well_formed(body: _Body, source: str) -> NewOrder:
    size = number("size", body.size)
    price = number("price", body.price)
    tif = body.tif or "gtc"
    auto_size = body.auto_size or None
    whole = bool(body.close) or auto_size is not None  # the venue knows how much
    if body.size is None and not whole:
        raise Refusal("MISSING_REQUIRED_PARAM", "Missing required parameter: size")
    if tif not in TIFS:
        raise invalid("tif", body.tif)
    if price < 0 or (price == 0 and tif not in ("ioc", "fok")):
        raise invalid("price", body.price)
    if body.text and not TEXT.fullmatch(body.text):
        raise invalid("text", body.text)
    if auto_size not in (None, *AUTO_SIZES) or (auto_size and not body.reduce_only):
        raise invalid("auto_size", body.auto_size)
    if whole != (size == 0):
        raise invalid("size", body.size)
    if body.stp_act not in (None, "", "-"):
        raise invalid("stp_act", body.stp_act)  # needs membership of an STP group
    slip = body.market_order_slip_ratio
    return NewOrder(
        contract=body.contract,
        size=size,
        price=price,
        tif=tif,
        text=body.text or source,
        reduce_only=bool(body.reduce_only),
        close=bool(body.close),
        iceberg=number("iceberg", body.iceberg),
        slip_ratio=number("market_order_slip_ratio", slip) if slip else None,
        auto_size=auto_size,
    )
