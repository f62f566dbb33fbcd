"""Positions: reading them, their leverage, margin and mode; one-way and hedge.

`leverage` zero means cross margin, whose leverage is `cross_leverage_limit`; any other is isolated.
The mode of an account changes only while it holds nothing and has no order open.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from loadtest.exchanges.gateio import account_views, views
from loadtest.exchanges.gateio.call import Answered, Call, Endpoint
from loadtest.exchanges.gateio.orders import number, unreadable
from loadtest.exchanges.gateio.positions import ZERO, Leg, Position
from loadtest.exchanges.gateio.refusal import Refusal, invalid
from loadtest.exchanges.gateio.views import Json

SIDES: tuple[Leg, ...] = ("dual_long", "dual_short")


def _show(call: Call, position: Position) -> Json:
    mark = call.exchange.marks[position.contract.name]
    return views.position(position, call.user, mark, decimals=call.decimals)


def _list(call: Call) -> Answered:
    holding = call.flag("holding")
    held = [p for p in call.funded().positions.values() if p.leg in call.user.legs()]
    return 200, call.page([_show(call, p) for p in held if p.size or not holding])


def _one(call: Call) -> Answered:
    call.funded()
    call.exchange.book(call.argument)
    _one_way(call)
    position = call.user.positions.get((call.argument, "single"))
    if position is None:
        raise Refusal("POSITION_NOT_FOUND", "position not found")
    return 200, _show(call, position)


def _one_way(call: Call) -> None:
    if call.user.dual_mode:
        raise Refusal("POSITION_DUAL_MODE", "the account is in dual mode: use dual_comp")


def _touched(call: Call, name: str | None = None) -> list[Position]:
    """The contract's position, or its two sides in hedge mode; made where there was none."""
    contract = call.exchange.book(name or call.argument).contract
    user = call.funded()
    return [user.position(contract, leg) for leg in user.legs()]


def _pair(call: Call) -> Answered:
    return 200, [_show(call, position) for position in _touched(call)]


def _changed(call: Call, positions: list[Position]) -> list[Json]:
    """They are numbered anew, told of, and shown."""
    for position in positions:
        position.touch(call.exchange.now())
        if call.user.feed is not None:
            call.user.feed.position(call.user, position)
    return [_show(call, position) for position in positions]


# ------------------------------------------------------------------ leverage, margin


def _levered(call: Call, positions: list[Position]) -> list[Json]:
    leverage = number("leverage", call.needed("leverage"))
    limit = number("cross_leverage_limit", call.query.get("cross_leverage_limit"))
    return _lever(call, positions, leverage, limit)


def _lever(
    call: Call, positions: list[Position], leverage: Decimal, cross_limit: Decimal
) -> list[Json]:
    most = positions[0].contract.leverage_max
    for name, value in (("leverage", leverage), ("cross_leverage_limit", cross_limit)):
        if value < 0 or (0 < value < 1):
            raise invalid(name, value)
        if value > most:
            raise Refusal("LEVERAGE_TOO_HIGH", f"maximum is {most}")
    for position in positions:
        position.leverage = leverage
        if not leverage:
            position.cross_limit = cross_limit or position.cross_limit
            position.extra_margin = ZERO
    return _changed(call, positions)


def _leverage(call: Call) -> Answered:
    _one_way(call)
    return 200, _levered(call, _touched(call))[0]


def _leverage_pair(call: Call) -> Answered:
    return 200, _levered(call, _touched(call))


def _set_leverage(call: Call) -> Answered:
    """The simpler one: leverage and mode by name."""
    positions = _touched(call)
    side = call.query.get("dual_side")
    if side:
        positions = [it for it in positions if it.leg == side]
    if not positions:
        raise invalid("dual_side", side)
    leverage = number("leverage", call.needed("leverage"))
    if leverage <= 0:
        raise invalid("leverage", leverage)
    match call.needed("margin_mode"):
        case "isolated":
            return 200, _lever(call, positions, leverage, ZERO)[0]
        case "cross":
            return 200, _lever(call, positions, ZERO, leverage)[0]
        case other:
            raise invalid("margin_mode", other)


def _get_leverage(call: Call) -> Answered:
    side = call.query.get("dual_side")
    found = [it for it in _touched(call) if side in (None, "", it.leg)]
    if not found:
        raise invalid("dual_side", side)
    return 200, {"Lever": views.plain(found[0].lever)}


def _margin(call: Call, position: Position) -> list[Json]:
    change = number("change", call.needed("change"))
    if not position.size:
        raise Refusal("POSITION_EMPTY", "empty position")
    if not position.isolated:
        raise Refusal("POSITION_CROSS_MARGIN", "the position is in cross margin")
    if position.extra_margin + change < 0:
        raise Refusal("REMOVE_TOO_MUCH", f"at most {position.extra_margin}")
    if change > call.user.available(call.exchange.marks):
        raise Refusal("INSUFFICIENT_AVAILABLE", "not enough balance")
    position.extra_margin += change
    return _changed(call, [position])


def _change_margin(call: Call) -> Answered:
    _one_way(call)
    return 200, _margin(call, _touched(call)[0])[0]


def _change_margin_side(call: Call) -> Answered:
    side = call.needed("dual_side")
    for position in _touched(call):
        if position.leg == side:
            return 200, _margin(call, position)
    raise invalid("dual_side", side)


# ------------------------------------------------------------------ modes


class _CrossMode(msgspec.Struct):
    mode: str
    contract: str


def _moded(call: Call) -> list[Json]:
    try:
        asked = msgspec.json.decode(call.body, type=_CrossMode)
    except msgspec.DecodeError as error:
        raise unreadable(error) from None
    if asked.mode.upper() not in ("CROSS", "ISOLATED"):
        raise invalid("mode", asked.mode)
    positions = _touched(call, asked.contract)
    for position in positions:
        lever = position.lever
        isolated = asked.mode.upper() == "ISOLATED"
        position.leverage = lever if isolated else ZERO
        position.cross_limit = lever
    return _changed(call, positions)


def _cross_mode(call: Call) -> Answered:
    _one_way(call)
    return 200, _moded(call)[0]


def _cross_mode_pair(call: Call) -> Answered:
    return 200, _moded(call)


def _dual_mode(call: Call) -> Answered:
    asked = call.needed("dual_mode").lower()
    if asked not in ("true", "false"):
        raise invalid("dual_mode", asked)
    return 200, _to_mode(call, asked == "true")


def _position_mode(call: Call) -> Answered:
    asked = call.needed("position_mode")
    if asked not in ("single", "dual"):
        raise invalid("position_mode", asked)
    return 200, _to_mode(call, asked == "dual")


def _to_mode(call: Call, dual: bool) -> Json:
    user = call.funded()
    if user.dual_mode == dual:
        raise Refusal("NO_CHANGE", "no change is made")
    if user.open_orders or any(p.size for p in user.positions.values()):
        raise Refusal("POSITION_HOLDING", "there are positions or open orders")
    user.dual_mode = dual
    return account_views.account(user, call.exchange.marks)


def _closes(call: Call) -> Answered:
    user, contract, side = call.funded(), call.contract(), call.query.get("side")
    rows = [
        it
        for it in reversed(user.closed)
        if contract in (None, it.contract) and side in (None, "", it.side)
    ]
    return 200, [views.closed(it) for it in call.page(call.between(rows, lambda it: it.at))]


_OF = "futures/usdt/positions"
_DUAL = "futures/usdt/dual_comp/positions"

ENDPOINTS = (
    Endpoint("GET", _OF, "positions", _list),
    Endpoint("GET", _OF + "/{}", "position", _one),
    Endpoint("POST", _OF + "/{}/leverage", "leverage", _leverage),
    Endpoint("POST", _OF + "/{}/set_leverage", "set_leverage", _set_leverage),
    Endpoint("POST", _OF + "/{}/margin", "margin", _change_margin),
    Endpoint("POST", _OF + "/cross_mode", "cross_mode", _cross_mode),
    Endpoint("GET", "futures/usdt/get_leverage/{}", "get_leverage", _get_leverage),
    Endpoint("GET", _DUAL + "/{}", "dual_position", _pair),
    Endpoint("POST", _DUAL + "/{}/leverage", "dual_leverage", _leverage_pair),
    Endpoint("POST", _DUAL + "/{}/margin", "dual_margin", _change_margin_side),
    Endpoint("POST", _DUAL + "/cross_mode", "dual_cross_mode", _cross_mode_pair),
    Endpoint("POST", "futures/usdt/dual_mode", "dual_mode", _dual_mode),
    Endpoint("POST", "futures/usdt/set_position_mode", "dual_mode", _position_mode),
    Endpoint("GET", "futures/usdt/position_close", "position_close", _closes),
)
