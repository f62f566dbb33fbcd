"""A spot order: how it is read from a request, and what the venue remembers of it.

Amounts are in base, but of a market order to buy: that one's is in quote. `text` is Gate's: empty,
or `t-` and at most 28 of [0-9A-Za-z_.-]; it need not be unique.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import msgspec

from loadtest.exchanges.gateio.orders import TEXT, Arrival
from loadtest.exchanges.gateio.positions import ZERO
from loadtest.exchanges.gateio.refusal import Refusal, invalid

TIFS = ("gtc", "ioc", "poc", "fok")
ACCOUNTS = ("spot", "unified")
BATCH_PAIRS_MAX = 4
BATCH_ORDERS_MAX = 10
CANCELS_MAX = 20

Number = int | float | str


class _Body(msgspec.Struct):
    """The JSON as sent. Unknown fields are ignored, as on the live venue."""

    currency_pair: str
    side: str
    amount: Number
    type: str = "limit"
    account: str | None = None
    price: Number | None = None
    time_in_force: str | None = None
    text: str | None = None
    iceberg: Number | None = None
    auto_borrow: bool | None = None
    stp_act: str | None = None


class NewSpotOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A well-formed request. `price` None: a market order."""

    pair: str
    side: str
    amount: Decimal
    price: Decimal | None
    tif: str
    text: str
    account: str

    @property
    def is_buy(self) -> bool:
        return self.side == "buy"

    @property
    def in_quote(self) -> bool:
        return self.price is None and self.is_buy


class SpotOrder(msgspec.Struct, kw_only=True, eq=False):
    """One order in the venue's memory. `left` is in the unit of `amount`."""

    id: int
    key: str
    uid: int
    pair: str
    side: str
    amount: Decimal
    left: Decimal
    price: Decimal | None
    tif: str
    text: str
    account: str
    create_time: float
    executed_monotonic: float
    arrival: Arrival
    update_time: float = 0.0
    finish_time: float | None = None
    finish_as: str = "open"
    filled: Decimal = ZERO  # base
    filled_total: Decimal = ZERO  # quote
    fee: Decimal = ZERO
    fee_currency: str = ""
    point_fee: Decimal = ZERO
    amend_text: str = "-"
    locked: Decimal = ZERO  # of what it pays with
    queue: int = 0  # its place among equal prices

    @property
    def is_buy(self) -> bool:
        return self.side == "buy"

    @property
    def is_open(self) -> bool:
        return self.finish_as == "open"

    @property
    def status(self) -> str:
        """`closed`: filled to the end; `cancelled`: ended before, whatever was filled."""
        if self.is_open:
            return "open"
        return "closed" if self.finish_as == "filled" else "cancelled"


_one = msgspec.json.Decoder(_Body)
_many = msgspec.json.Decoder(list[_Body])


def read_order(body: bytes) -> NewSpotOrder:
    """Raises Refusal INVALID_REQUEST_BODY, MISSING_REQUIRED_PARAM or INVALID_PARAM_VALUE."""
    try:
        return _well_formed(_one.decode(body))
    except msgspec.DecodeError as error:
        raise unreadable(error) from None


def read_batch(body: bytes) -> list[NewSpotOrder]:
    """At most four pairs and ten orders of each, all with a text and for one kind of account."""
    try:
        wanted = [_well_formed(one) for one in _many.decode(body)]
    except msgspec.DecodeError as error:
        raise unreadable(error) from None
    if not wanted:
        raise Refusal("INVALID_PARAM_VALUE", "a batch has orders")
    if any(not TEXT.fullmatch(one.text) for one in wanted):
        raise Refusal("MISSING_REQUIRED_PARAM", "Missing required parameter: text")
    pairs = [one.pair for one in wanted]
    if len(set(pairs)) > BATCH_PAIRS_MAX:
        raise Refusal("TOO_MANY_CURRENCY_PAIRS", "at most 4 currency pairs in a batch")
    if max(pairs.count(pair) for pair in pairs) > BATCH_ORDERS_MAX:
        raise Refusal("TOO_MANY_ORDERS", "at most 10 orders of one currency pair in a batch")
    if len({one.account for one in wanted}) > 1:
        raise Refusal("MIXED_ACCOUNT_TYPE", "one kind of account in a batch")
    return wanted


def unreadable(error: msgspec.DecodeError) -> Refusal:
    if "missing required field" in str(error):
        name = str(error).split("`")[1]
        return Refusal("MISSING_REQUIRED_PARAM", f"Missing required parameter: {name}")
    shape = isinstance(error, msgspec.ValidationError)
    label = "INVALID_PARAM_VALUE" if shape else "INVALID_REQUEST_BODY"
    return Refusal(label, f"Invalid request body: {error}")


def number(name: str, value: Number) -> Decimal:
    """Raises Refusal for what is no number above zero."""
    try:
        read = Decimal(str(value))
    except InvalidOperation:
        raise invalid(name, value) from None
    if not read.is_finite() or read <= 0:
        raise invalid(name, value)
    return read


def _well_formed(body: _Body) -> NewSpotOrder:
    if body.type not in ("limit", "market"):
        raise invalid("type", body.type)
    if body.side not in ("buy", "sell"):
        raise invalid("side", body.side)
    market = body.type == "market"
    if not market and body.price is None:
        raise Refusal("MISSING_REQUIRED_PARAM", "Missing required parameter: price")
    tif = body.time_in_force or "gtc"
    if tif not in (("ioc", "fok") if market else TIFS):
        raise invalid("time_in_force", tif)
    account = body.account or "spot"
    if account not in ACCOUNTS or body.auto_borrow:
        raise invalid("account", f"{account}: no margin here")
    if body.text and not TEXT.fullmatch(body.text):
        raise invalid("text", body.text)
    if body.stp_act not in (None, "", "-"):
        raise invalid("stp_act", body.stp_act)  # needs membership of an STP group
    return NewSpotOrder(
        pair=body.currency_pair,
        side=body.side,
        amount=number("amount", body.amount),
        price=None if market or body.price is None else number("price", body.price),
        tif=tif,
        text=body.text or "apiv4",
        account=account,
    )
