"""The words that strategies, groups and subscriptions share: what an order is made of, how accounts behave.

Everywhere, **absent (None) means: inherit**. A document never stores None (omit_defaults), and a
JSON Merge Patch `null` removes a member, which makes it inherit again. An empty list or map is a
value: it says "none of these", and does not inherit.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tenancy.protection import positive_members
from tenancy.values import PRINTABLE, Positive, whole
from tenancy.windows import TradingWindow

TradingState = Literal["active", "reducing", "halted"]
OrdType = Literal["market", "limit", "stop", "stop_limit", "trailing_stop"]
TimeInForce = Literal["day", "gtc", "opg", "cls", "ioc", "fok"]
BlockType = Literal["block_equal", "block_net_liq", "block_available", "block_ratio"]
"""The quantity is the total of the whole strategy, split over its accounts."""
QuantityType = Literal[
    "fixed_quantity", "dollar_amount", "risk_dollar_amount", "risk_percent", "percent_of_equity",
    "percent_of_position", "equity_ratio", "block_equal", "block_net_liq", "block_available",
    "block_ratio",
]  # fmt: skip
OverrideQuantityType = Literal[
    "fixed_quantity", "multiplier", "dollar_amount", "risk_dollar_amount", "risk_percent",
    "percent_of_equity", "percent_of_position", "equity_ratio",
]  # fmt: skip
"""`multiplier` and `equity_ratio` scale the signal's own quantity; the others replace it."""
Direction = Literal["both", "long", "short"]
Rounding = Literal["down", "nearest", "up"]
BelowMinimum = Literal["skip", "raise"]
PriceRounding = Literal["conservative", "nearest"]
EquityBasis = Literal["with_unrealised", "without_unrealised"]
PositionBasis = Literal["strategy", "account"]
PositionMismatch = Literal["refuse", "repair"]

# Printable, as the signal language asks of tickers; what a database cannot hold is refused with it.
Ticker = Annotated[str, msgspec.Meta(min_length=1, max_length=50, pattern=whole(PRINTABLE + "+"))]
Tickers = Annotated[tuple[Ticker, ...], msgspec.Meta(max_length=1000)]
SymbolMap = Annotated[dict[Ticker, Ticker], msgspec.Meta(max_length=1000)]
Windows = Annotated[tuple[TradingWindow, ...], msgspec.Meta(max_length=50)]
Minutes = Annotated[int, msgspec.Meta(ge=1, le=1440)]

PARAMETERS = (
    "quantity",
    "order_type_entry",
    "order_type_exit",
    "time_in_force_entry",
    "time_in_force_exit",
    "take_profit",
    "stop_loss",
)
"""What a signal may say and each layer may say instead. A quantity carries its type with it."""


class Behaviours(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How an account follows signals, where the signal has no word in it. Each replaces the whole
    value of the layer above: lists and maps are not merged."""

    allow_add_to_position: bool | None = None
    subtract_exit_quantity: bool | None = None
    cancel_open_orders_on_signal: bool | None = None
    direction: Direction | None = None
    rounding: Rounding | None = None
    below_minimum: BelowMinimum | None = None
    tickers_allowed: Tickers | None = None
    """Empty: every ticker."""
    tickers_refused: Tickers | None = None
    symbol_map: SymbolMap | None = None
    """From the sender's ticker to the broker's symbol."""
    trading_windows: Windows | None = None
    """Open while any of them is; empty: always."""
    needs_approval: bool | None = None
    """A person says yes to each signal before it trades."""
    approval_minutes: Minutes | None = None
    """How long that yes is waited for."""
    allow_side_swap: bool | None = None
    """Off: a `buy` or `sell` against the position closes it and opens nothing. `reverse` always does both."""
    price_rounding: PriceRounding | None = None
    """To the tick: `conservative` is a buy limit down, a sell limit up, a stop away from the market."""
    equity_basis: EquityBasis | None = None
    position_basis: PositionBasis | None = None
    """`account`: what all strategies hold in the account counts as this one's position, and its net is traded."""
    position_mismatch: PositionMismatch | None = None
    """What becomes of a signal whose `expectedPosition` is not the account's."""
    closes_when_expired: bool | None = None
    """A signal that came too late may still close, never open."""
    invert_puts: bool | None = None
    """With a put, `buy` and `sell` mean the direction of the underlying: the put is traded the other way."""
    block_ratio: Positive | None = None
    """The account's share in a `block_ratio`, against the shares of the others."""
    max_spread: Positive | None = None
    """How far bid and ask may be apart for an entry, in price; of this and the signal's the tighter holds."""
    max_spread_percent: Positive | None = None
    """The same, in percent of the middle between bid and ask."""

    def __post_init__(self) -> None:
        positive_members(self, "block_ratio", "max_spread", "max_spread_percent")


BEHAVIOURS: tuple[str, ...] = Behaviours.__struct_fields__
