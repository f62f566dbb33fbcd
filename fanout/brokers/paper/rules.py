"""Which rules paper keeps: its own, or those of the broker that it imitates. Data, no code.

An adapter may not know another one, so what paper says for a broker is written here once more, and
tests/contract/test_paper_equals.py holds it to that broker's adapter on its simulator. `sequence` is the
order in which that broker (its adapter, then its exchange) looks at an order: of two faults the first is
told. `no` gives its label and our kind for each fault; a fault without a label is none there.

What a broker sets contract by contract and its adapter does not pass on is a usual value here:
`deviation`, `bound_bps`, the fees.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from fanout.order import TimeInForce
from fanout.ports import RejectKind

Imitated = Literal["gateio", "gateio_spot", "shioaji"]
Money = Literal["carried", "margin", "cash", "per_lot"]
"""What must pay for an order (money.py)."""
Check = Literal[
    "known", "type", "odd_type", "quoted", "name", "least", "most", "step", "price", "tick", "trail",
    "band", "worth", "reduce", "inventory", "funds", "count", "fok",
]  # fmt: skip
Fault = Literal[
    "unknown", "unsupported", "part_of_lot", "no_price", "duplicate", "too_small", "too_large", "off_step",
    "bad_price", "off_tick", "no_trail", "too_far", "too_cheap", "nothing_held", "wrong_side", "not_held", "funds",
    "too_many", "unfilled",
]  # fmt: skip


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What one broker lets an account do."""

    times_in_force: Mapping[str, Mapping[str, TimeInForce]]
    sequence: tuple[Check, ...]
    no: Mapping[Fault, tuple[str, RejectKind]]
    money: Money
    unique_client_ids: bool = False
    open_first: bool = False
    """Of several orders of one name an open one is found, whichever came later."""
    one_in_flight: bool = False
    quotes: bool = True
    """Orders meet the best bid and ask where the source has them; else the reference price."""
    cuts: bool = False
    """A reduce-only order is cut to what there is to reduce when it is placed, and not when it fills."""
    cuts_first: bool = False
    """And what is left of it must be a size that the broker has."""
    sweeps: bool = False
    """A resting reduce-only order ends as soon as there is nothing left for it to reduce."""
    whole_lots: bool = False
    deviation: Decimal | None = None
    """How far from the mark a limit price may be, as a part of it."""
    bound_bps: Decimal = Decimal(0)
    """How far beyond the ask a market order to buy reserves money."""
    orders_most: int | None = None
    """So many may be open in a contract."""
    maker_fee: Decimal = Decimal(0)
    taker_fee: Decimal = Decimal(0)
    fee_in_kind: bool = False
    """The fee of a buy comes out of what is bought."""


_GATE_LIMIT: Mapping[str, TimeInForce] = {"day": "gtc", "gtc": "gtc", "ioc": "ioc", "fok": "fok"}
_MARKET: Mapping[str, TimeInForce] = {"day": "ioc", "gtc": "ioc", "ioc": "ioc", "fok": "fok"}
_REST: Mapping[str, TimeInForce] = {"day": "gtc", "gtc": "gtc"}

OWN = Rules(
    times_in_force={
        "market": _MARKET,
        "limit": _GATE_LIMIT,
        "stop": _REST,
        "stop_limit": _REST,
        "trailing_stop": _REST,
    },
    sequence=(
        "known",
        "type",
        "quoted",
        "name",
        "least",
        "most",
        "step",
        "price",
        "tick",
        "trail",
        "worth",
        "reduce",
        "funds",
    ),
    no={
        "unknown": ("CONTRACT_NOT_FOUND", "instrument"),
        "unsupported": ("unsupported_order", "other"),
        "no_price": ("NO_PRICE", "price"),
        "duplicate": ("DUPLICATE_ID", "duplicate_id"),
        "too_small": ("SIZE_TOO_SMALL", "size"),
        "too_large": ("SIZE_TOO_LARGE", "size"),
        "off_step": ("INVALID_PARAM_VALUE", "size"),
        "bad_price": ("INVALID_PARAM_VALUE", "price"),
        "off_tick": ("INVALID_PARAM_VALUE", "price"),
        "no_trail": ("INVALID_PARAM_VALUE", "price"),
        "too_cheap": ("ORDER_VALUE_TOO_SMALL", "size"),
        "nothing_held": ("REDUCE_EXCEEDED", "risk"),
        "wrong_side": ("INCREASE_POSITION", "risk"),
        "funds": ("INSUFFICIENT_AVAILABLE", "funds"),
    },
    money="carried",
    unique_client_ids=True,
    quotes=False,
)
"""As at Gate, round the clock and without auctions; a stated equity times leverage carries positions."""

GATEIO = Rules(
    times_in_force={
        "market": {"day": "ioc", "gtc": "ioc", "ioc": "ioc"},
        "limit": _GATE_LIMIT,
    },
    sequence=(
        "type",
        "price",
        "known",
        "quoted",
        "step",
        "least",
        "most",
        "reduce",
        "tick",
        "band",
        "funds",
        "count",
        "fok",
    ),
    no={
        "unknown": ("CONTRACT_NOT_FOUND", "instrument"),
        "unsupported": ("unsupported_order", "other"),
        "part_of_lot": ("unsupported_order", "size"),
        "no_price": ("NO_PRICE", "price"),
        "too_small": ("SIZE_TOO_SMALL", "size"),
        "too_large": ("SIZE_TOO_LARGE", "size"),
        "off_step": ("INVALID_PARAM_VALUE", "other"),
        "bad_price": ("unsupported_order", "price"),
        "off_tick": ("INVALID_PARAM_VALUE", "other"),
        "too_far": ("PRICE_TOO_DEVIATED", "price"),
        "nothing_held": ("REDUCE_EXCEEDED", "risk"),
        "wrong_side": ("INCREASE_POSITION", "risk"),
        "funds": ("INSUFFICIENT_AVAILABLE", "funds"),
        "too_many": ("TOO_MANY_ORDERS", "risk"),
        "unfilled": ("ORDER_FOK", "other"),
    },
    money="margin",
    sweeps=True,
    whole_lots=True,
    deviation=Decimal("0.5"),
    orders_most=100,
    maker_fee=Decimal("0.0002"),
    taker_fee=Decimal("0.0005"),
)
"""Gate.io USDT perpetuals, one-way, cross margin."""

GATEIO_SPOT = Rules(
    times_in_force={"market": _MARKET, "limit": _GATE_LIMIT},
    sequence=(
        "type",
        "known",
        "reduce",
        "price",
        "quoted",
        "step",
        "least",
        "most",
        "worth",
        "tick",
        "band",
        "funds",
        "fok",
    ),
    no={
        "unknown": ("pair_not_traded", "instrument"),
        "unsupported": ("unsupported_order", "other"),
        "no_price": ("no_price", "price"),
        "too_small": ("below_minimum", "size"),
        "too_large": ("above_maximum", "size"),
        "off_step": ("off_step", "size"),
        "bad_price": ("unsupported_order", "other"),
        "off_tick": ("INVALID_PRECISION", "other"),
        "too_far": ("INVALID_PARAM_VALUE", "other"),
        "too_cheap": ("below_minimum", "size"),
        "nothing_held": ("nothing_to_reduce", "risk"),
        "wrong_side": ("nothing_to_reduce", "risk"),
        "funds": ("BALANCE_NOT_ENOUGH", "funds"),
        "unfilled": ("FOK_NOT_FILL", "other"),
    },
    money="cash",
    open_first=True,
    cuts=True,
    cuts_first=True,
    deviation=Decimal("0.5"),
    bound_bps=Decimal(100),
    maker_fee=Decimal("0.002"),
    taker_fee=Decimal("0.002"),
    fee_in_kind=True,
)
"""Gate.io spot, classic account: nothing lent, nothing short, fees not paid in points."""

SHIOAJI = Rules(
    times_in_force={
        "market": _MARKET,
        "limit": {"day": "day", "gtc": "day", "ioc": "ioc", "fok": "fok"},
    },
    sequence=(
        "type",
        "known",
        "odd_type",
        "quoted",
        "step",
        "most",
        "price",
        "tick",
        "band",
        "reduce",
        "name",
        "inventory",
        "funds",
    ),
    no={
        "unknown": ("unknown_contract", "instrument"),
        "unsupported": ("unsupported_order", "other"),
        "no_price": ("NO_PRICE", "price"),
        "duplicate": ("sent_before", "duplicate_id"),
        "too_large": ("quantity", "size"),
        "off_step": ("quantity", "size"),
        "bad_price": ("price", "price"),
        "off_tick": ("price_step", "price"),
        "too_far": ("price_limit", "price"),
        "nothing_held": ("reduce_only", "risk"),
        "wrong_side": ("reduce_only", "risk"),
        "not_held": ("41", "risk"),
        "funds": ("50", "funds"),
    },
    money="per_lot",
    unique_client_ids=True,
    one_in_flight=True,
    cuts=True,
)
"""SinoPac: stocks for cash, futures and options by the margin of a lot (`margins` of the settings)."""

RULES: Mapping[Imitated | None, Rules] = {
    None: OWN,
    "gateio": GATEIO,
    "gateio_spot": GATEIO_SPOT,
    "shioaji": SHIOAJI,
}
