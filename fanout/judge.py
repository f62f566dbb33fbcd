"""May this account trade this signal, and from which numbers is it sized? One row at a time. Pure.

The checks run in the order of spec sizing.md ("Limits, in this order"); the first that refuses is
the reason. A pure exit is stopped by what halts, by the archive, by the subscription's switch and
by a broker that is not connected, and by nothing else: not by `reducing`, tickers, direction,
trading windows or age. Quantities, positions and the price collar: fanout/checks.py.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import msgspec

from fanout.action import Move, decide
from fanout.mandate import SENDERS, Mandate
from fanout.market import AccountNow, Market
from fanout.order import OrdType, TimeInForce
from fanout.ports import Instrument
from fanout.reasons import Reason
from fanout.signal import Signal
from fanout.windows import Windows
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
    market_price: Decimal | None = None
    exposure: Decimal = Decimal(0)  # lots on the move's side that an opening comes on top of
    factors: tuple[Decimal, ...] = ()
    divisor: Fraction = Fraction(1)
    words: str = ""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """When the plan is made: is the signal too old by then, and which trading windows are open?"""

    too_old: bool
    windows: Windows


def judge(
    signal: Signal,
    snapshot: Snapshot,
    row: Subscribed,
    market: Market,
    *,
    place: int,
    moment: Moment,
    mandate: Mandate = SENDERS,
) -> Draft | Reason:
    """The draft of an order for one account, or why there is none."""
    if mandate.accounts is not None and row.account.account_id not in mandate.accounts:
        return Reason.NOT_ADDRESSED
    refused = None if mandate.forced else stopped(snapshot, row)
    if refused is not None:
        return refused
    instruments = market.instruments.get(row.account.broker)
    if instruments is None:
        return Reason.NOT_CONNECTED
    if row.account.broker in market.keyed and row.account.sealed is None:
        return Reason.NOT_CONNECTED
    allowed = mandate.names_symbols or _ticker_allowed(signal, row)
    symbols = {} if mandate.names_symbols else row.settings.symbol_map.value
    instrument = instruments.find(signal.ticker, symbols)
    if instrument is None:
        return Reason.TICKER_UNKNOWN if allowed else Reason.TICKER_NOT_ALLOWED
    now = market.accounts.get(row.account.account_id, AccountNow())
    # Doubt stops what would trade on top of it; a wish to cancel reaches orders in doubt as well.
    if now.in_doubt and signal.action != "cancel":
        return Reason.IN_DOUBT
    move = decide(signal, now.expected, allow_add=row.settings.allow_add_to_position.value)
    if move is Reason.CANCEL_ONLY:
        return Draft(row=row, place=place, instrument=instrument, move=None, cancel_open=True)
    if isinstance(move, Reason):
        return move if allowed else Reason.TICKER_NOT_ALLOWED
    if move.opens and mandate.forced:
        return Reason.REDUCE_ONLY
    if move.opens:
        refusal = _may_open(signal, snapshot, row, move, allowed=allowed, moment=moment)
        if refusal is not None:
            return refusal
    return _priced(signal, row, instrument, move, now, place, forced=mandate.forced)


def stopped(snapshot: Snapshot, row: Subscribed) -> Reason | None:
    """What stops exits too: kill states from the outermost, the archive, the subscription's own switch."""
    group = row.group
    for state, reason in (
        (snapshot.platform.state, Reason.PLATFORM_HALTED),
        (snapshot.tenant.state, Reason.TENANT_HALTED),
        (snapshot.strategy.state, Reason.STRATEGY_HALTED),
        (group.state if group is not None else "active", Reason.GROUP_HALTED),
        (row.account.state, Reason.ACCOUNT_HALTED),
    ):
        if state == "halted":
            return reason
    archived = group is not None and group.archived
    if snapshot.strategy.archived or archived or row.account.archived:
        return Reason.ARCHIVED
    return None if row.enabled else Reason.SUBSCRIPTION_DISABLED


def only_reduces(snapshot: Snapshot, row: Subscribed) -> bool:
    """Whether any level lets nothing be opened or added to."""
    return "reducing" in (
        snapshot.platform.state,
        snapshot.tenant.state,
        snapshot.strategy.state,
        row.group.state if row.group is not None else "active",
        row.account.state,
    )


def _ticker_allowed(signal: Signal, row: Subscribed) -> bool:
    refused, allowed = row.settings.tickers_refused.value, row.settings.tickers_allowed.value
    return signal.ticker not in refused and (not allowed or signal.ticker in allowed)


def _may_open(
    signal: Signal,
    snapshot: Snapshot,
    row: Subscribed,
    move: Move,
    *,
    allowed: bool,
    moment: Moment,
) -> Reason | None:
    if only_reduces(snapshot, row):
        return Reason.REDUCE_ONLY
    if not allowed:
        return Reason.TICKER_NOT_ALLOWED
    if row.settings.direction.value == ("short" if move.side == "buy" else "long"):
        return Reason.DIRECTION_NOT_ALLOWED
    if not signal.ignore_trading_windows:
        open_now = moment.windows.open(row.settings.trading_windows.value)
        if open_now is None:
            return Reason.TRADING_WINDOW_UNKNOWN
        if not open_now:
            return Reason.OUTSIDE_TRADING_WINDOW
    return Reason.SIGNAL_TOO_OLD if moment.too_old else None


def _priced(
    signal: Signal,
    row: Subscribed,
    instrument: Instrument,
    move: Move,
    now: AccountNow,
    place: int,
    *,
    forced: bool,
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
    if forced:  # whatever the subscription makes of exits: this one is to fill now
        values = msgspec.structs.replace(values, order_type="market")
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
        market_price=reference_price(signal, "market", instrument),
        exposure=_exposure(move, now),
        factors=factors,
        divisor=divisor,
        words=words,
    )


def _exposure(move: Move, now: AccountNow) -> Decimal:
    """What is held on the move's side, and what waits at the broker there and may fill."""
    held, resting = now.expected, now.resting_buy
    if move.side == "sell":
        held, resting = -held, now.resting_sell
    return max(held, Decimal(0)) + resting


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
