"""Why an account trades, or does not: one code each, with the sentence that people read."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The outcome of planning for one account."""

    ORDER = "order"
    AWAITS_APPROVAL = "awaits_approval"
    CANCEL_ONLY = "cancel_only"
    PLATFORM_HALTED = "platform_halted"
    TENANT_HALTED = "tenant_halted"
    STRATEGY_HALTED = "strategy_halted"
    GROUP_HALTED = "group_halted"
    ACCOUNT_HALTED = "account_halted"
    REDUCE_ONLY = "reduce_only"
    CLOCK_UNTRUSTED = "clock_untrusted"
    AUDIT_HALTED = "audit_halted"
    ARCHIVED = "archived"
    SUBSCRIPTION_DISABLED = "subscription_disabled"
    NOT_CONNECTED = "not_connected"
    TICKER_UNKNOWN = "ticker_unknown"
    TICKER_NOT_ALLOWED = "ticker_not_allowed"
    DIRECTION_NOT_ALLOWED = "direction_not_allowed"
    OUTSIDE_TRADING_WINDOW = "outside_trading_window"
    TRADING_WINDOW_UNKNOWN = "trading_window_unknown"
    SIGNAL_TOO_OLD = "signal_too_old"
    SIGNAL_EXPIRED = "signal_expired"
    INSTRUMENT_HALTED = "instrument_halted"
    SPREAD_TOO_WIDE = "spread_too_wide"
    POSITION_MISMATCH = "position_mismatch"
    ON_TARGET = "on_target"
    SIDE_SWAP_NOT_ALLOWED = "side_swap_not_allowed"
    NO_SHORTS = "no_shorts"
    QUORUM_NOT_MET = "quorum_not_met"
    NOT_ADDRESSED = "not_addressed"
    USAGE_UNKNOWN = "usage_unknown"
    IN_DOUBT = "in_doubt"
    NO_POSITION = "no_position"
    POSITION_EXISTS = "position_exists"
    OPPOSITE_POSITION = "opposite_position"
    NO_QUANTITY = "no_quantity"
    NO_PRICE = "no_price"
    NO_EQUITY = "no_equity"
    NO_FX_RATE = "no_fx_rate"
    NO_STOP = "no_stop"
    NO_QUOTE = "no_quote"
    NO_AVAILABLE = "no_available"
    BELOW_MINIMUM = "below_minimum"
    MAX_ORDER_QUANTITY = "max_order_quantity"
    MAX_ORDER_NOTIONAL = "max_order_notional"
    MAX_POSITION_QUANTITY = "max_position_quantity"
    MAX_POSITION_NOTIONAL = "max_position_notional"
    MAX_LEVERAGE = "max_leverage"
    MAX_DAILY_LOSS = "max_daily_loss"
    MAX_ORDERS_PER_MINUTE = "max_orders_per_minute"
    PRICE_COLLAR = "price_collar"
    ORDER_TYPE_UNSUPPORTED = "order_type_unsupported"
    QUANTITY_TYPE_UNSUPPORTED = "quantity_type_unsupported"
    OPTIONS_UNSUPPORTED = "options_unsupported"
    OPTION_NOT_FOUND = "option_not_found"
    TIME_IN_FORCE_UNSUPPORTED = "time_in_force_unsupported"
    EXTENDED_HOURS_UNSUPPORTED = "extended_hours_unsupported"


LIMITS = frozenset(
    {
        Reason.MAX_ORDER_QUANTITY,
        Reason.MAX_ORDER_NOTIONAL,
        Reason.MAX_POSITION_QUANTITY,
        Reason.MAX_POSITION_NOTIONAL,
        Reason.MAX_LEVERAGE,
        Reason.MAX_DAILY_LOSS,
        Reason.MAX_ORDERS_PER_MINUTE,
        Reason.PRICE_COLLAR,
    }
)
"""The limits of tenancy.limits, when one stops an order."""

SENTENCES: dict[Reason, str] = {
    Reason.ORDER: "An order was planned.",
    Reason.AWAITS_APPROVAL: "A person is asked first: what is planned is sent when somebody says yes in time.",
    Reason.CANCEL_ONLY: "Open orders of the ticker are cancelled; nothing new is sent.",
    Reason.PLATFORM_HALTED: "The whole platform is halted: nothing trades.",
    Reason.TENANT_HALTED: "The tenant is halted: nothing trades.",
    Reason.STRATEGY_HALTED: "The strategy is halted: nothing trades.",
    Reason.GROUP_HALTED: "The account's group is halted: nothing trades in it.",
    Reason.ACCOUNT_HALTED: "The account is halted: nothing trades on it.",
    Reason.REDUCE_ONLY: "Platform, tenant, strategy, group or account only reduces: no position is opened"
    " or added to.",
    Reason.CLOCK_UNTRUSTED: "The host's clock is not measured to be as near UTC as the tenant or the platform"
    " wants before a position is opened.",
    Reason.AUDIT_HALTED: "A witness refused the audit log, and two people have not let it go on: no position is"
    " opened or added to.",
    Reason.ARCHIVED: "Strategy, group or account is archived: nothing trades with it.",
    Reason.SUBSCRIPTION_DISABLED: "The subscription is switched off.",
    Reason.NOT_CONNECTED: "The account has no live credential, or its broker's instruments are not known yet.",
    Reason.TICKER_UNKNOWN: "The broker has no instrument, or more than one, that the ticker names.",
    Reason.TICKER_NOT_ALLOWED: "The subscription does not allow this ticker.",
    Reason.DIRECTION_NOT_ALLOWED: "The subscription does not allow positions on this side.",
    Reason.OUTSIDE_TRADING_WINDOW: "No trading window of the subscription is open: no position is opened"
    " or added to.",
    Reason.TRADING_WINDOW_UNKNOWN: "Whether a trading window is open cannot be told: its exchange's calendar"
    " is not known for this day.",
    Reason.SIGNAL_TOO_OLD: "The signal waited longer than a position may be opened after it.",
    Reason.SIGNAL_EXPIRED: "The signal's own expiresAt had passed when it was planned.",
    Reason.INSTRUMENT_HALTED: "The instrument is halted: nothing trades in it.",
    Reason.SPREAD_TOO_WIDE: "Bid and ask are further apart than the signal or the subscription allows.",
    Reason.POSITION_MISMATCH: "The account's position is not the one that the sender expected.",
    Reason.ON_TARGET: "The position is already the one that the signal wants.",
    Reason.SIDE_SWAP_NOT_ALLOWED: "The subscription does not change sides, and there is nothing left to close.",
    Reason.NO_SHORTS: "Spot has no short positions: what is not held cannot be sold.",
    Reason.QUORUM_NOT_MET: "Too few of the strategy's accounts pass the checks, so none of them trades.",
    Reason.NOT_ADDRESSED: "The signal names the accounts that it is for, and this is none of them.",
    Reason.USAGE_UNKNOWN: "What the account has used of its limits is not known: nothing is opened.",
    Reason.IN_DOUBT: "An earlier order of this ticker is in doubt: nothing is sent until the broker has said.",
    Reason.NO_POSITION: "There is no position to close, or to add to.",
    Reason.POSITION_EXISTS: "There is a position on this side, and the subscription does not add to positions.",
    Reason.OPPOSITE_POSITION: "The position is on the other side.",
    Reason.NO_QUANTITY: "The subscription multiplies the signal's quantity, and the signal has none.",
    Reason.NO_PRICE: "No reference price: the broker gives none, and the signal has no signalPrice.",
    Reason.NO_EQUITY: "The account's equity is not known and none is stated, or the strategy refers to none.",
    Reason.NO_FX_RATE: "The account's currency is not the instrument's, and there is no rate between them.",
    Reason.NO_STOP: "The quantity is read by the distance to the stop: none, or on the winning side.",
    Reason.NO_QUOTE: "The spread is to be checked, and the broker gives no bid or no ask.",
    Reason.NO_AVAILABLE: "The account's available funds are not known.",
    Reason.BELOW_MINIMUM: "The size is below the instrument's minimum.",
    Reason.MAX_ORDER_QUANTITY: "The order would be larger than a limit on its quantity allows.",
    Reason.MAX_ORDER_NOTIONAL: "The order would be worth more than a limit on its value allows.",
    Reason.MAX_POSITION_QUANTITY: "The position would become larger than a limit on its quantity allows.",
    Reason.MAX_POSITION_NOTIONAL: "The position would become worth more than a limit on its value allows.",
    Reason.MAX_LEVERAGE: "The account's positions would be worth more, against its equity, than a limit allows.",
    Reason.MAX_DAILY_LOSS: "What the account lost today, and may lose at its stops, has reached a limit.",
    Reason.MAX_ORDERS_PER_MINUTE: "The account has had as many orders in this minute as a limit allows.",
    Reason.PRICE_COLLAR: "The limit price is further from the market than a limit allows.",
    Reason.ORDER_TYPE_UNSUPPORTED: "The settings ask for a trailing stop, and the signal says no trail.",
    Reason.QUANTITY_TYPE_UNSUPPORTED: "The settings cannot scale this kind of quantity, or bring it to a target.",
    Reason.OPTIONS_UNSUPPORTED: "The account's broker has no options.",
    Reason.OPTION_NOT_FOUND: "No option of the broker's fits what the signal asks for.",
    Reason.EXTENDED_HOURS_UNSUPPORTED: "Extended hours are asked for, and only stocks have them, at brokers that"
    " take such orders.",
    Reason.TIME_IN_FORCE_UNSUPPORTED: "The broker has no such time in force for this order, nor one in its stead.",
}
