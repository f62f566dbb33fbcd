"""Gate.io's own stops: price-triggered and trailing orders, to the wire and back. No I/O.

Two kinds of resting instruction, each with its own paths, ids and words:

    price_orders         trigger at a price: rule 1 is ≥ (above the last price), rule 2 is ≤ (below it).
                         No client id: `initial.text` names a source (`api`), so what was placed in doubt
                         is found by looking at all of them.
    autoorder/v1/trail   follows the market, `price_offset` behind it (`"12.5"` or `"1%"`). Has a `text`.

Neither knows of the other: no OCO. Both close by quantity and `reduce_only`, never by `auto_size` or
`close`: those close whatever is there, also what a person opened by hand. In hedge mode sign and
`reduce_only` say which side is meant.

`broker_order_id` of either is ours: `price/123`, `trail/456`, several joined by `+`.
Source: gate-api 7.2.161, FuturesPriceTriggeredOrder, CreateTrailOrder, TrailOrder.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from fanout.abilities import Protection
from fanout.brokers.gate.reading import Unreadable, decode, finite, moment
from fanout.brokers.gate.request import PAGE, PREFIX, Request, Unsupported, client_text
from fanout.order import OrdState
from fanout.ports import Report
from tenancy.values import plain

Kind = Literal["price", "trail"]
LAST_PRICE = 0  # trigger.price_type: 0 last, 1 mark, 2 index
TRAIL_LAST_PRICE = 1  # the trailing order counts otherwise: 1 last, 2 index, 3 mark

_encode = msgspec.json.Encoder().encode


class Leg(msgspec.Struct, frozen=True):
    """One instruction that is to rest at Gate."""

    kind: Kind
    request: Request
    words: str


# ------------------------------------------------------------------ outward


def legs(settle: str, wanted: Protection) -> list[Leg]:
    """What is to be placed, the stop first. Raises Unsupported where it makes no sense at Gate."""
    _check(wanted)
    size = _closing(wanted)
    made: list[Leg] = []
    if wanted.trail_amount is not None or wanted.trail_percent is not None:
        made.append(_trail(settle, wanted, size))
    if wanted.stop_px is not None:
        made.append(_price_order(settle, wanted, size, wanted.stop_px, below=wanted.side == "sell"))
    if wanted.target_px is not None:
        made.append(
            _price_order(settle, wanted, size, wanted.target_px, below=wanted.side == "buy")
        )
    return made


def _check(wanted: Protection) -> None:
    trails = [x for x in (wanted.trail_amount, wanted.trail_percent) if x is not None]
    stops = [*trails, *([] if wanted.stop_px is None else [wanted.stop_px])]
    prices = [*stops, *([] if wanted.target_px is None else [wanted.target_px])]
    if not prices:
        raise Unsupported("a protection needs a stop, a trailing distance or a target")
    if len(stops) > 1:
        raise Unsupported("one stop or one trailing distance stands behind a position, not both")
    if any(not price.is_finite() or price <= 0 for price in prices):
        raise Unsupported(f"stop, distance and target must be above 0, got {prices}")
    if wanted.stop_px is None or wanted.target_px is None:
        return
    if (wanted.stop_px < wanted.target_px) != (wanted.side == "sell"):
        behind = "a long" if wanted.side == "sell" else "a short"
        raise Unsupported(
            f"behind {behind} position the stop ({wanted.stop_px}) and the target"
            f" ({wanted.target_px}) are the wrong way round"
        )


def _closing(wanted: Protection) -> str:
    qty = wanted.qty
    if not qty.is_finite() or qty <= 0 or qty != qty.to_integral_value():
        raise Unsupported(f"qty must be whole contracts above 0, got {qty}")
    return plain(qty if wanted.side == "buy" else -qty)


def _price_order(settle: str, wanted: Protection, size: str, price: Decimal, *, below: bool) -> Leg:
    closes = "short" if wanted.side == "buy" else "long"
    body = {
        "initial": {
            "contract": wanted.symbol,
            "size": int(size),
            "price": "0",
            "tif": "ioc",
            "reduce_only": True,
            "text": "api",
        },
        "trigger": {
            "strategy_type": 0,
            "price_type": LAST_PRICE,
            "price": plain(price),
            "rule": 2 if below else 1,
        },
        "order_type": f"plan-close-{closes}-position",
    }
    request = Request("POST", f"{PREFIX}/futures/{settle}/price_orders", "", _encode(body))
    return Leg("price", request, f"{'≤' if below else '≥'} {plain(price)}")


def _trail(settle: str, wanted: Protection, size: str) -> Leg:
    percent = wanted.trail_percent
    offset = plain(wanted.trail_amount or Decimal(0)) if percent is None else f"{plain(percent)}%"
    body = {
        "contract": wanted.symbol,
        "amount": size,
        "activation_price": "0",  # at once
        "is_gte": wanted.side == "sell",
        "price_type": TRAIL_LAST_PRICE,
        "price_offset": offset,
        "reduce_only": True,
        "position_related": True,
        "text": client_text(wanted.cl_ord_id),
    }
    path = f"{PREFIX}/futures/{settle}/autoorder/v1/trail/create"
    return Leg("trail", Request("POST", path, "", _encode(body)), f"trailing {offset}")


def list_price_orders(settle: str, contract: str, offset: int) -> Request:
    query = f"status=open&contract={contract}&limit={PAGE}&offset={offset}"
    return Request("GET", f"{PREFIX}/futures/{settle}/price_orders", query)


def list_trails(settle: str, contract: str, page: int) -> Request:
    """`page` counts from 1."""
    query = f"contract={contract}&is_finished=false&page_num={page}&page_size={PAGE}"
    return Request("GET", f"{PREFIX}/futures/{settle}/autoorder/v1/trail/list", query)


def take_back(settle: str, kind: Kind, number: str) -> Request:
    if kind == "price":
        return Request("DELETE", f"{PREFIX}/futures/{settle}/price_orders/{number}")
    path = f"{PREFIX}/futures/{settle}/autoorder/v1/trail/stop"
    return Request("POST", path, "", _encode({"id": int(number)}))


def split(broker_order_id: str) -> list[tuple[Kind, str]]:
    """What `broker_order_id` names. Raises Unsupported for a name that is not one of ours."""
    named: list[tuple[Kind, str]] = []
    for part in broker_order_id.split("+"):
        kind, _, number = part.partition("/")
        if not number.isascii() or not number.isdigit() or kind not in ("price", "trail"):
            raise Unsupported(
                f"{part!r} names no protection: price/<number> or trail/<number> is wanted"
            )
        named.append(("price" if kind == "price" else "trail", number))
    return named


# ------------------------------------------------------------------ back


class _Made(msgspec.Struct):
    id: int | str
    id_string: str | None = None


class _TrailMade(msgspec.Struct):
    code: int
    message: str = ""
    data: _Made | None = None


class _Initial(msgspec.Struct):
    size: Decimal = Decimal(0)
    amount: Decimal | None = None


class _Trigger(msgspec.Struct):
    price: Decimal
    rule: Literal[1, 2]


class _PriceOrder(msgspec.Struct):
    id: int
    initial: _Initial
    trigger: _Trigger
    status: Literal["open", "inactive"]
    create_time: float | None = None
    id_string: str | None = None


class _TrailOrder(msgspec.Struct):
    id: int
    amount: Decimal
    price_offset: str
    status: Literal["open"]
    text: str = ""
    created_at: int | None = None


class _Trails(msgspec.Struct):
    orders: list[msgspec.Raw]


class _TrailsInside(msgspec.Struct):
    data: _Trails


def made(kind: Kind, body: bytes) -> str:
    """The `broker_order_id` of what was just placed. Raises Unreadable, also for a refusal in a 200."""
    if kind == "price":
        answer = decode(body, _Made)
        return f"price/{answer.id_string or answer.id}"
    trail = decode(body, _TrailMade)
    if trail.code or trail.data is None:
        raise Unreadable(f"trailing order: code {trail.code} {trail.message}".rstrip())
    return f"trail/{trail.data.id}"


def price_orders(body: bytes) -> list[Report]:
    """One page of those that wait. Raises Unreadable."""
    return [_price_report(bytes(raw)) for raw in decode(body, list[msgspec.Raw])]


def _price_report(raw: bytes) -> Report:
    seen = decode(raw, _PriceOrder)
    sign = "≥" if seen.trigger.rule == 1 else "≤"
    size = finite(seen.initial.amount or seen.initial.size, "size")
    words = f"{sign} {plain(finite(seen.trigger.price, 'price'))}, size {plain(size)}"
    return _standing(f"price/{seen.id_string or seen.id}", "", words, seen.create_time, raw)


def trails(body: bytes) -> list[Report]:
    """One page of those that wait. Raises Unreadable."""
    # gate-api has the list bare, while the answer to its creation comes in an envelope: both are read.
    try:
        rows = decode(body, _Trails).orders
    except Unreadable:
        rows = decode(body, _TrailsInside).data.orders
    return [_trail_report(bytes(raw)) for raw in rows]


def _trail_report(raw: bytes) -> Report:
    seen = decode(raw, _TrailOrder)
    name = seen.text.removeprefix("t-") if seen.text.startswith("t-") else ""
    words = f"trailing {seen.price_offset}, size {plain(finite(seen.amount, 'amount'))}"
    return _standing(f"trail/{seen.id}", name, words, seen.created_at, raw)


def _standing(name: str, cl_ord_id: str, words: str, at_s: float | None, raw: bytes) -> Report:
    return Report(
        cl_ord_id=cl_ord_id,
        broker_order_id=name,
        ord_status=OrdState.NEW,
        cum_qty=Decimal(0),
        avg_px=None,
        text=words,
        transact_time=moment(at_s),
        raw=raw,
    )


def taken_back(kind: Kind, number: str, body: bytes, now: datetime) -> Report:
    """What the answer to `take_back` says in a 200. Raises Unreadable unless it ended by our word."""
    if kind == "price":
        ended = decode(body, _Ended)
        good = (
            number == (ended.id_string or str(ended.id))
            and ended.status == "finished"
            and ended.finish_as in ("cancelled", "", None)
        )
        said = f"{ended.status} {ended.finish_as}"
    else:
        said = _trail_end(number, body)
        good = said == ""
    if not good:
        raise Unreadable(f"{kind}/{number} after it was taken back: {said}")
    report = _standing(f"{kind}/{number}", "", "taken back", now.timestamp(), body)
    return msgspec.structs.replace(report, ord_status=OrdState.CANCELED)


class _Ended(msgspec.Struct):
    id: int
    status: str
    finish_as: str | None = None
    id_string: str | None = None


class _TrailEnded(msgspec.Struct):
    id: int
    status: str


class _TrailEnd(msgspec.Struct):
    order: _TrailEnded | None = None
    code: int | None = None
    message: str = ""


def _trail_end(number: str, body: bytes) -> str:
    """Nothing where Gate confirmed it, by the order or by an envelope's code 0."""
    seen = decode(body, _TrailEnd)
    if seen.order is not None:
        ended = str(seen.order.id) == number and seen.order.status == "finished"
        return "" if ended else f"{seen.order.id} {seen.order.status}"
    return "" if seen.code == 0 else f"code {seen.code} {seen.message}"
