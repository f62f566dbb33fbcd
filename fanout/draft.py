"""An order of one situation before its size is known: prices, quantity's arithmetic, protection. Pure.

Inheritance is settled here (tenancy/effective.py): each value with the layer that it comes from.
The closing leg of a flip goes by what holds for exits, the opening one by what holds for entries.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec

from fanout.action import Move
from fanout.case import Case
from fanout.modes import Formula, Share, formula
from fanout.order import OrdType, Protect, TimeInForce
from fanout.prices import Terms, distance, market_price, reference_price, terms
from fanout.reasons import Reason
from fanout.time_in_force import SentAs, extended_hours_refusal, sent_as
from fanout.worth import Worth
from tenancy import protection
from tenancy.effective import Effective, Source, effective

WHOLE = "the whole position"


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all accounts of a situation. `formula` None: the position says how much."""

    case: Case
    move: Move | None
    cancel_open: bool
    closing: Terms | None = None
    opening: Terms | None = None
    protect: Protect | None = None
    source: dict[str, Source] = {}
    price: Decimal | None = None
    market_price: Decimal | None = None
    formula: Formula | Share | None = None
    worth: Worth | None = None
    words: str = ""


def cancelling(case: Case) -> Draft:
    """Nothing but that the ticker's open orders are cancelled."""
    return Draft(case=case, move=None, cancel_open=True)


def draft(case: Case, move: Move, aim_words: str | None = None) -> Draft | Reason:
    """The order, or what is missing for it. `aim_words`: its size comes of a target, and how that came."""
    aimed = aim_words is not None
    entry = effective(case.wanted, case.row.settings, exit=False) if move.opens else None
    leaves = effective(case.wanted, case.row.settings, exit=True) if move.close != "none" else None
    values = entry or leaves
    assert values is not None, "a move closes or opens"
    if case.caps is not None:
        extended = case.signal.extended_hours
        refused = extended_hours_refusal(
            extended, case.instrument.kind, case.caps, closes=not move.opens
        )
        if refused is not None:
            return refused
    closing = _terms(case, leaves, move)
    if isinstance(closing, Reason):
        return closing
    opening = _terms(case, entry, move)
    if isinstance(opening, Reason):
        return opening
    order_type: OrdType = "market" if case.forced else values.order_type
    price = reference_price(case.signal, order_type, case.instrument)
    if move.opens and case.instrument.min_notional > 0 and price is None:
        return Reason.NO_PRICE
    worth = worth_of(case, move, values, price)
    found = None if aimed else size_of(case, move, values, worth)
    if isinstance(found, Reason):
        return found
    if move.close == "quantity" and found is None and not aimed:
        move = msgspec.structs.replace(move, close="whole")
    own = case.row.settings.cancel_open_orders_on_signal.value
    return Draft(
        case=case,
        move=move,
        cancel_open=own if case.signal.cancel is None else case.signal.cancel,
        closing=closing,
        opening=opening,
        protect=None if entry is None else _protect(entry),
        source=values.source,
        price=price,
        market_price=market_price(case.signal, case.instrument),
        formula=found,
        worth=worth,
        words=_first_words(move, found, aim_words)
        + _kept(move)
        + _instead(case, values, order_type),
    )


def _instead(case: Case, values: Effective, order_type: OrdType) -> str:
    """What is not sent as it was asked for, and which contract an option is."""
    sent = _sent_as(case, order_type, values.time_in_force)
    said = [sent.words] if isinstance(sent, SentAs) else []
    if case.facts.contract is not None:
        said.append(case.facts.contract.words)
    return "".join(f"; {words}" for words in said if words)


def _first_words(move: Move, found: Formula | Share | None, aim_words: str | None) -> str:
    if aim_words is not None:
        return aim_words
    if found is not None:
        return found.words
    return "as much as was held" if move.opens else WHOLE


def _kept(move: Move) -> str:
    return "; spot has no short positions: nothing is opened" if move.kept_from_short else ""


def _terms(case: Case, values: Effective | None, move: Move) -> Terms | Reason | None:
    if values is None:
        return None
    order_type: OrdType = "market" if case.forced else values.order_type
    sent = _sent_as(case, order_type, values.time_in_force)
    if isinstance(sent, Reason):
        return sent
    rounding = case.row.settings.price_rounding.value
    return terms(case.signal, order_type, sent.time_in_force, move.side, case.instrument, rounding)


def _sent_as(case: Case, order_type: OrdType, asked: TimeInForce) -> SentAs | Reason:
    """What the broker is sent for this time in force."""
    return SentAs(asked) if case.caps is None else sent_as(case.caps, order_type, asked)


def _protect(values: Effective) -> Protect | None:
    """The signal's and the settings' shapes as one, for it is kept in rows and read again."""
    if values.take_profit is None and values.stop_loss is None:
        return None
    profit, stop = values.take_profit, values.stop_loss
    return Protect(
        take_profit=None if profit is None else protection.TakeProfit(**_members(profit)),
        stop_loss=None if stop is None else protection.StopLoss(**_members(stop)),
    )


def _members(value: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}


def worth_of(case: Case, move: Move, values: Effective, price: Decimal | None) -> Worth:
    stop = values.stop_loss
    away: Fraction | Reason | None = None
    if stop is not None:
        if price is None:
            away = Reason.NO_PRICE
        else:
            found = distance(case.signal, stop, values.order_type, move.side, price)
            away = Reason.NO_STOP if found is None else found
    rates = case.snapshot.tenant.fx_rates
    return Worth(case.instrument, price, case.row.account.currency, rates, away)


def size_of(
    case: Case, move: Move, values: Effective, worth: Worth
) -> Formula | Share | Reason | None:
    """The quantity's arithmetic; None where the position says it all."""
    scales = values.quantity_type in ("multiplier", "equity_ratio")
    if not move.opens:
        # An entry's own size says nothing about this exit.
        own = values.source["quantity"] != "signal" and not scales
        if move.close == "whole" or own:
            return None
    if move.size == "held":
        return None
    return formula(case, values, worth)
