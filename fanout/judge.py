"""May the accounts of one situation trade this signal? Pure.

The checks run in the order of spec sizing.md ("Limits, in this order"); the first that refuses is
the reason. A pure exit is stopped by what halts, by the archive, by the subscription's switch and
by a broker that is not connected, and by nothing else: not by `reducing`, tickers, direction,
trading windows or age. Rates, losses, quantities, positions and the price collar: fanout/checks.py.

While an order of the account is in doubt, nothing is opened. A pure exit goes on where the broker
knows reduce-only orders and nobody else holds the symbol in the account: it counts the doubtful
order as filled, and can then not turn the position round if it was not.
"""

from __future__ import annotations

import msgspec

from fanout.action import Move
from fanout.case import Case, wanted_of
from fanout.mandate import Mandate
from fanout.market import Instruments, Market
from fanout.options import Contract, NoContract, has_option_fields
from fanout.ports import Instrument
from fanout.prices import spread_too_wide
from fanout.reasons import Reason
from fanout.signal import Signal
from fanout.situations import Facts
from fanout.windows import Windows
from tenancy.snapshot import Snapshot, Subscribed


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """When the plan is made: is the signal too old by then, and which trading windows are open?"""

    too_old: bool
    windows: Windows
    expired: bool = False


class Found(msgspec.Struct, frozen=True):
    """What the ticker names at a broker. `inverted`: a put, which is traded the other way."""

    instrument: Instrument
    inverted: bool = False


def admit(
    signal: Signal,
    snapshot: Snapshot,
    row: Subscribed,
    market: Market,
    facts: Facts,
    mandate: Mandate,
) -> Case | Reason:
    """Everything that does not depend on what would be done to the position."""
    if not facts.addressed:
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
    found = instrument_of(signal, row, instruments, facts, mandate)
    if isinstance(found, Reason):
        return found if allowed else Reason.TICKER_NOT_ALLOWED
    if not mandate.forced and _state(market, row, found.instrument) == "halted":
        return Reason.INSTRUMENT_HALTED
    # Doubt stops what would trade on top of it; a wish to cancel reaches orders in doubt as well.
    alone = row.account.hedged or not facts.shared
    may_reduce = row.account.broker in market.reduces and alone
    if facts.in_doubt and signal.action != "cancel" and not may_reduce:
        return Reason.IN_DOUBT
    return Case(
        signal=signal,
        snapshot=snapshot,
        row=row,
        facts=facts,
        instrument=found.instrument,
        wanted=wanted_of(signal),
        forced=mandate.forced,
        inverted=found.inverted,
        caps=market.caps.get(row.account.broker),
        allowed=allowed,
    )


def instrument_of(
    signal: Signal, row: Subscribed, instruments: Instruments, facts: Facts, mandate: Mandate
) -> Found | Reason:
    """The instrument that this signal means at this account's broker."""
    if isinstance(facts.contract, NoContract):
        return facts.contract.reason
    if isinstance(facts.contract, Contract):
        return Found(facts.contract.instrument, facts.contract.inverted)
    if has_option_fields(signal):
        return Reason.OPTIONS_UNSUPPORTED
    mapped = {} if mandate.names_symbols else row.settings.symbol_map.value
    instrument = instruments.find(signal.ticker, mapped)
    return Reason.TICKER_UNKNOWN if instrument is None else Found(instrument)


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


def may(case: Case, move: Move, market: Market, moment: Moment) -> Reason | None:
    """Why this move is not made; None where nothing stands in its way."""
    expired_too = moment.expired and not case.forced
    if not move.opens:
        closes_late = case.row.settings.closes_when_expired.value
        return Reason.SIGNAL_EXPIRED if expired_too and not closes_late else None
    if case.facts.in_doubt:
        return Reason.IN_DOUBT
    reducing = _state(market, case.row, case.instrument) == "reducing"
    if case.forced or reducing or only_reduces(case.snapshot, case.row):
        return Reason.REDUCE_ONLY
    if market.clock_untrusted:
        return Reason.CLOCK_UNTRUSTED
    if not case.allowed:
        return Reason.TICKER_NOT_ALLOWED
    settings = case.row.settings
    if settings.direction.value == ("short" if move.side == "buy" else "long"):
        return Reason.DIRECTION_NOT_ALLOWED
    if not case.signal.ignore_trading_windows:
        open_now = moment.windows.open(settings.trading_windows.value)
        if open_now is None:
            return Reason.TRADING_WINDOW_UNKNOWN
        if not open_now:
            return Reason.OUTSIDE_TRADING_WINDOW
    if expired_too:
        return Reason.SIGNAL_EXPIRED
    if moment.too_old:
        return Reason.SIGNAL_TOO_OLD
    return spread_too_wide(
        case.instrument,
        (case.signal.bid_ask_spread_filter, settings.max_spread.value),
        (case.signal.bid_ask_spread_filter_percent, settings.max_spread_percent.value),
    )


def _state(market: Market, row: Subscribed, instrument: Instrument) -> str:
    return market.instrument_states.get((row.account.broker, instrument.symbol), "active")


def _ticker_allowed(signal: Signal, row: Subscribed) -> bool:
    refused, allowed = row.settings.tickers_refused.value, row.settings.tickers_allowed.value
    return signal.ticker not in refused and (not allowed or signal.ticker in allowed)
