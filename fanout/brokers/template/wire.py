"""The broker's requests and answers as bytes, and what each answer means. Pure: no I/O, no clock.

    answer to a new order               outcome
    200 that can be read                Acked
    200 that cannot, 202, 5xx, others   InDoubt, with the bytes
    429                                 RateLimited
    401 with a code of AUTH             AuthFailed
    4xx with a code                     Rejected (an unknown one: kind "other")
    4xx `expired`, past our deadline    Unsent: it was slow, and was not taken

Whatever cannot be read strictly is Unreadable; nothing is guessed.
Source: the docstring of loadtest/exchanges/tiny.py, in place of a vendor's page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal, TypeVar

import msgspec

from fanout.order import Order, OrdState, TimeInForce
from fanout.ports import (
    Acked,
    AuthFailed,
    BrokerPosition,
    Equity,
    InDoubt,
    Instrument,
    Outcome,
    RateLimited,
    Rejected,
    RejectKind,
    Report,
    Unsent,
)
from tenancy.errors import UNREADABLE, Invalid
from tenancy.values import exact

T = TypeVar("T")

SCHEME: Final = "template"
"""The name under which hsm/policy.py would list what its keys may sign."""

TIF: Final[Mapping[str, Mapping[str, TimeInForce]]] = {
    "market": {"day": "ioc", "gtc": "ioc", "ioc": "ioc"},
    "limit": {"day": "gtc", "gtc": "gtc", "ioc": "ioc", "fok": "fok"},
}
"""What is sent for what is asked. What is not named is refused here, never sent as something near it."""

REJECTED: Final[Mapping[str, RejectKind]] = {
    "no_funds": "funds",
    "nothing_to_reduce": "risk",
    "bad_price": "price",
    "bad_qty": "size",
    "unknown_symbol": "instrument",
    "duplicate_id": "duplicate_id",
    "no_permission": "permission",
}
AUTH: Final[Mapping[str, Literal["key", "sign", "clock"]]] = {
    "bad_key": "key",
    "bad_sign": "sign",
    "bad_time": "clock",
}
STATES: Final = {
    "open": OrdState.NEW,
    "filled": OrdState.FILLED,
    "canceled": OrdState.CANCELED,
}


class Unreadable(Invalid):
    """An answer that cannot be taken at its word."""

    code = "unreadable_answer"


class Unsupported(Invalid):
    """The broker has no such order: final, where Unsent would be tried again and again."""

    code = "unsupported_order"


# ------------------------------------------------------------------ requests


class Request(msgspec.Struct, frozen=True):
    """Exactly as it is signed and sent: nothing encodes it again."""

    method: str
    path: str
    body: bytes = b""


class _Place(msgspec.Struct, omit_defaults=True):
    id: str
    symbol: str
    side: str
    qty: str
    tif: str
    price: str | None = None
    reduce_only: bool = False


def place(order: Order) -> Request:
    """Raises Unsupported."""
    tif = TIF.get(order.ord_type, {}).get(order.time_in_force)
    if tif is None:
        raise Unsupported(f"there is no {order.ord_type} order {order.time_in_force}")
    limit = order.ord_type == "limit"
    if limit and order.price is None:
        raise Unsupported("a limit order needs a price")
    price = f"{order.price:f}" if limit else None
    said = _Place(
        id=order.cl_ord_id,
        symbol=order.symbol,
        side=order.side,
        qty=f"{order.order_qty:f}",
        tif=tif,
        price=price,
        reduce_only=order.reduce_only,
    )
    return Request("POST", "/v1/orders", msgspec.json.encode(said))


def one_order(method: str, order: Order) -> Request:
    """GET or DELETE, by our own name: it is unique for ever."""
    return Request(method, f"/v1/orders/{order.cl_ord_id}")


OPEN_ORDERS, POSITIONS, ACCOUNT, KEY, INSTRUMENTS = (
    Request("GET", f"/v1/{name}") for name in ("orders", "positions", "account", "key", "instruments")
)  # fmt: skip


# ------------------------------------------------------------------ answers


class Answer(msgspec.Struct, frozen=True):
    """`now`: the broker's clock when it answered, None where it did not say."""

    status: int
    body: bytes
    now: datetime | None = None
    retry_after_s: float = 1.0


class _Error(msgspec.Struct):
    code: str
    text: str


class _Order(msgspec.Struct):
    id: str
    number: int
    state: Literal["open", "filled", "canceled"]
    filled: Decimal
    average: Decimal | None
    at_ms: int


class _Position(msgspec.Struct):
    symbol: str
    qty: Decimal
    average: Decimal


class _Account(msgspec.Struct):
    equity: Decimal
    available: Decimal
    currency: str


class _Instrument(msgspec.Struct):
    symbol: str
    multiplier: Decimal
    step: Decimal
    least: Decimal
    most: Decimal
    tick: Decimal
    currency: str
    last: Decimal
    bid: Decimal
    ask: Decimal


class _Key(msgspec.Struct):
    user: str
    scopes: list[str]


def error_of(answer: Answer) -> tuple[str, str]:
    """The broker's code and words; ("", "") where the body holds none."""
    try:
        error = msgspec.json.decode(answer.body, type=_Error)
    except UNREADABLE:
        return "", ""
    return error.code, error.text


def moment(ms: int) -> datetime:
    """Raises Unreadable."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        raise Unreadable(f"time {ms!r}") from None


def placed(answer: Answer, order: Order, *, not_after: datetime, now: datetime) -> Outcome:
    """May it exist? Never raises. `not_after`: the request's deadline; `now`: when the answer was read."""
    if answer.status == 200:
        try:
            return Acked(report=report(answer.body, order))
        except Unreadable as why:
            return InDoubt(cause=str(why), not_after=not_after, raw=answer.body)
    code, text = error_of(answer)
    if answer.status == 429:
        return RateLimited(retry_after_s=answer.retry_after_s)
    if not 400 <= answer.status < 500 or not code:
        cause = f"status {answer.status} {code}".rstrip()
        return InDoubt(cause=cause, not_after=not_after, raw=answer.body)
    if code in AUTH:
        return AuthFailed(kind=AUTH[code], text=text)
    if code == "expired" and now >= not_after:
        return Unsent(cause=f"it arrived after its deadline: {text}")
    return Rejected(code=code, kind=REJECTED.get(code, "other"), text=text)


def report(body: bytes, order: Order) -> Report:
    """Raises Unreadable, also where it is about another order."""
    (seen,) = reports(b"[" + body + b"]")
    if seen.cl_ord_id != order.cl_ord_id:
        raise Unreadable(f"asked about {order.cl_ord_id}, told about {seen.cl_ord_id}")
    return seen


def reports(body: bytes) -> list[Report]:
    """Raises Unreadable."""
    return [
        Report(
            cl_ord_id=one.id,
            broker_order_id=str(one.number),
            ord_status=STATES[one.state],
            cum_qty=_finite(one.filled),
            avg_px=None if one.average is None else _finite(one.average),
            text=one.state,
            transact_time=moment(one.at_ms),
            raw=msgspec.json.encode(one),
        )
        for one in _read(body, list[_Order])
    ]


def positions(body: bytes) -> list[BrokerPosition]:
    """Raises Unreadable."""
    return [
        BrokerPosition(
            symbol=one.symbol,
            qty=_finite(one.qty),
            avg_px=_finite(one.average),
            unrealised_pnl=None,
        )
        for one in _read(body, list[_Position])
    ]


def equity(body: bytes, now: datetime) -> Equity:
    """Raises Unreadable."""
    it = _read(body, _Account)
    return Equity(
        equity=_finite(it.equity), available=_finite(it.available), currency=it.currency, as_of=now
    )


def instruments(body: bytes, now: datetime) -> dict[str, Instrument]:
    """Raises Unreadable."""
    return {
        one.symbol: Instrument(
            symbol=one.symbol,
            multiplier=_finite(one.multiplier),
            lot_step=_finite(one.step),
            min_qty=_finite(one.least),
            max_qty=_finite(one.most),
            tick=_finite(one.tick),
            currency=one.currency,
            last_price=_finite(one.last),
            mark_price=None,
            bid=_finite(one.bid),
            ask=_finite(one.ask),
            as_of=now,
        )
        for one in _read(body, list[_Instrument])
    }


def key(body: bytes) -> tuple[str, Sequence[str]]:
    """Whose it is, and its scopes. Raises Unreadable."""
    it = _read(body, _Key)
    return it.user, it.scopes


def _read(body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except UNREADABLE as why:
        raise Unreadable(f"unexpected answer: {why}") from None


def _finite(value: Decimal) -> Decimal:
    """msgspec takes "NaN" for a Decimal: money goes through the one door."""
    try:
        return exact(value)
    except ValueError as why:
        raise Unreadable(str(why)) from None
