"""May this account trade this signal, and from which numbers is it sized? One row at a time. Pure.

The checks run in the order of spec sizing.md ("Limits, in this order"); the first that refuses is
the reason. A pure exit is not stopped by `reducing`, direction or age.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import msgspec

from fanout.action import Move, decide
from fanout.market import AccountNow, Market
from fanout.order import OrdType, TimeInForce
from fanout.ports import Instrument
from fanout.reasons import Reason
from fanout.signal import Signal
from tenancy.effective import Effective, Source, Wanted, effective
from tenancy.snapshot import Snapshot, Subscribed
from tenancy.values import plain


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An account that trades, before its size is known: lots = round(Π factors / divisor) · step."""

    row: Subscribed
    place: int
    instrument: Instrument
    move: Move | None
    cancel_open: bool
    ord_type: OrdType = "market"
    time_in_force: TimeInForce = "day"
    source: dict[str, Source] = {}
    position: Decimal = Decimal(0)
    equity: Decimal | None = None
    price: Decimal | None = None
    factors: tuple[Decimal, ...] = ()
    divisor: Fraction = Fraction(1)
    words: str = ""


def judge(
    signal: Signal,
    snapshot: Snapshot,
    row: Subscribed,
    market: Market,
    *,
    place: int,
    too_old: bool,
) -> Draft | Reason:
    """The draft of an order for one account, or why there is none."""
    stopped = _stopped(snapshot, row)
    if stopped is not None:
        return stopped
    instruments = market.instruments.get(row.account.broker)
    if instruments is None:
        return Reason.NOT_CONNECTED
    if row.account.broker in market.keyed and row.account.sealed is None:
        return Reason.NOT_CONNECTED
    refused, allowed = row.settings.tickers_refused.value, row.settings.tickers_allowed.value
    if signal.ticker in refused or (allowed and signal.ticker not in allowed):
        return Reason.TICKER_NOT_ALLOWED
    instrument = instruments.find(signal.ticker, row.settings.symbol_map.value)
    if instrument is None:
        return Reason.TICKER_UNKNOWN
    now = market.accounts.get(row.account.account_id, AccountNow())
    # Doubt stops what would trade on top of it; a wish to cancel reaches orders in doubt as well.
    if now.in_doubt and signal.action != "cancel":
        return Reason.IN_DOUBT
    move = decide(signal, now.expected, allow_add=row.settings.allow_add_to_position.value)
    if move is Reason.CANCEL_ONLY:
        return Draft(row=row, place=place, instrument=instrument, move=None, cancel_open=True)
    if isinstance(move, Reason):
        return move
    if move.opens:
        refusal = _may_open(snapshot, row, move, too_old=too_old)
        if refusal is not None:
            return refusal
    return _priced(signal, snapshot, row, instrument, move, now, place)


def _stopped(snapshot: Snapshot, row: Subscribed) -> Reason | None:
    """Kill states first, then the subscription's own switch."""
    if snapshot.tenant.state == "halted":
        return Reason.TENANT_HALTED
    if snapshot.strategy.state == "halted":
        return Reason.STRATEGY_HALTED
    if row.account.state == "halted":
        return Reason.ACCOUNT_HALTED
    if not row.enabled:
        return Reason.SUBSCRIPTION_DISABLED
    return None


def _may_open(snapshot: Snapshot, row: Subscribed, move: Move, *, too_old: bool) -> Reason | None:
    if "reducing" in (snapshot.tenant.state, snapshot.strategy.state, row.account.state):
        return Reason.REDUCE_ONLY
    if row.settings.direction.value == ("short" if move.side == "buy" else "long"):
        return Reason.DIRECTION_NOT_ALLOWED
    return Reason.SIGNAL_TOO_OLD if too_old else None


def _priced(
    signal: Signal,
    snapshot: Snapshot,
    row: Subscribed,
    instrument: Instrument,
    move: Move,
    now: AccountNow,
    place: int,
) -> Draft | Reason:
    exit_only = not move.opens
    values = effective(
        Wanted(
            quantity=signal.quantity,
            quantity_type=signal.quantity_type,
            order_type=signal.order_type,
            time_in_force=signal.time_in_force,
            take_profit=signal.take_profit,
            stop_loss=signal.stop_loss,
        ),
        row.settings,
        exit=exit_only,
    )
    unsupported = _unsupported(signal, values, exit_only=exit_only)
    if unsupported is not None:
        return unsupported
    price = reference_price(signal, values.order_type, instrument)
    if values.order_type == "limit" and price is None:
        return Reason.NO_PRICE
    equity = now.equity if now.equity is not None else row.account.stated_equity
    sized = _sizing(signal, values, row, instrument, move, now.expected, price, equity)
    if isinstance(sized, Reason):
        return sized
    factors, divisor, words = sized
    if exit_only and not factors:
        move = msgspec.structs.replace(move, close="whole")
    own = row.settings.cancel_open_orders_on_signal.value
    cancels = own if signal.cancel is None else signal.cancel
    return Draft(
        row=row,
        place=place,
        instrument=instrument,
        move=move,
        cancel_open=cancels,
        ord_type=values.order_type,
        time_in_force=values.time_in_force,
        source=values.source,
        position=now.expected,
        equity=equity,
        price=price,
        factors=factors,
        divisor=divisor,
        words=words,
    )


def _unsupported(signal: Signal, values: Effective, *, exit_only: bool) -> Reason | None:
    """What is not built yet is refused by name, never traded without a part of what was asked."""
    if values.order_type not in ("market", "limit"):
        return Reason.ORDER_TYPE_UNSUPPORTED
    if signal.option_type is not None or signal.expiration is not None:
        return Reason.OPTIONS_UNSUPPORTED
    if exit_only:
        return None
    if values.take_profit is not None or values.stop_loss is not None:
        return Reason.ATTACHED_ORDERS_UNSUPPORTED
    if values.quantity_type in ("risk_dollar_amount", "risk_percent"):
        return Reason.QUANTITY_TYPE_UNSUPPORTED
    return None


def reference_price(signal: Signal, order_type: str, instrument: Instrument) -> Decimal | None:
    """The limit price for limit orders, else the broker's mark or last, else signalPrice."""
    if order_type == "limit" and signal.limit_price is not None:
        return signal.limit_price
    for price in (instrument.mark_price, instrument.last_price, signal.reference_price):
        if price is not None and price > 0:
            return price
    return None


def _sizing(
    signal: Signal,
    values: Effective,
    row: Subscribed,
    instrument: Instrument,
    move: Move,
    position: Decimal,
    price: Decimal | None,
    equity: Decimal | None,
) -> tuple[tuple[Decimal, ...], Fraction, str] | Reason:
    """Factors, divisor and the arithmetic in words; nothing to compute where the position says it all."""
    step = Fraction(instrument.lot_step)
    if move.close == "whole" and not move.opens:
        return (), step, "the whole position"
    quantity, kind = values.quantity, values.quantity_type
    if not move.opens and values.source["quantity"] != "signal" and kind != "multiplier":
        return (), step, "the whole position"  # an entry's own size says nothing about this exit
    if kind == "multiplier":
        if signal.quantity is None:
            return Reason.NO_QUANTITY
        if signal.quantity_type != "fixed_quantity":
            return Reason.QUANTITY_TYPE_UNSUPPORTED
        return (signal.quantity, quantity), step, f"{plain(signal.quantity)} × {plain(quantity)}"
    if kind == "fixed_quantity":
        return (quantity,), step, plain(quantity)
    if kind == "percent_of_position":
        words = f"{plain(quantity)} % of {plain(abs(position))} lots"
        return (abs(position), quantity), 100 * step, words
    if kind not in ("dollar_amount", "percent_of_equity"):
        return Reason.QUANTITY_TYPE_UNSUPPORTED
    if price is None:
        return Reason.NO_PRICE
    if row.account.currency != instrument.currency:
        return Reason.NO_FX_RATE
    lot = Fraction(price) * Fraction(instrument.multiplier) * step
    per_lot = f"({plain(price)} × {plain(instrument.multiplier)})"
    if kind == "dollar_amount":
        return (quantity,), lot, f"{plain(quantity)} {row.account.currency} / {per_lot}"
    if equity is None:
        return Reason.NO_EQUITY
    leverage = row.account.leverage
    words = f"{plain(equity)} × {plain(quantity)} % × {plain(leverage)} / {per_lot}"
    return (max(equity, Decimal(0)), quantity, leverage), 100 * lot, words
