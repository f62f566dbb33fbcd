"""Order, in FIX's words, and the names by which any process finds the same order again.

An *order* is what one signal wants of one account in one leg (`order_id`). Each sending of it
is an *attempt* with its own `cl_ord_id`; a second attempt exists only after the first is proven
absent. Both names are derived, so a process that knows the signal knows them.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

import msgspec

from tenancy.parameters import OrdType as OrdType
from tenancy.parameters import TimeInForce as TimeInForce
from tenancy.protection import StopLoss, TakeProfit
from tenancy.values import AccountID, SignalID, StrategyID, TenantID

Side = Literal["buy", "sell"]


Role = Literal["main", "stop", "target"]
"""`stop` and `target` stand behind a position: they only reduce, and one cancels the other."""


class Protect(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Take profit and stop loss as they hold for the account. Relative values count from the fill price."""

    take_profit: TakeProfit | None = None
    stop_loss: StopLoss | None = None


class OrdState(StrEnum):
    """Where an attempt stands. FIX 39 where FIX has the word."""

    HELD = "held"  # in the gateway's stop engine, until its price is reached: never sent before
    WAITING = "waiting"  # the second leg of a flip, until the first is filled: never sent
    INTENT = "intent"  # durable; bytes may have left: doubt, after a crash
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"  # the broker's no
    DENIED = "denied"  # ours, after the plan: the leg before it failed, the account was halted
    UNSENT = "unsent"  # provably never arrived, and its deadline passed
    ABSENT = "absent"  # in doubt once, then proven absent at the broker
    IN_DOUBT = "in_doubt"


FINAL = frozenset(
    {
        OrdState.FILLED,
        OrdState.CANCELED,
        OrdState.EXPIRED,
        OrdState.REJECTED,
        OrdState.DENIED,
        OrdState.UNSENT,
        OrdState.ABSENT,
    }
)


STOP_LEG, TARGET_LEG = 2, 3
"""The legs of what stands behind the fills of leg 0 or 1."""


def order_id(signal: SignalID, account: AccountID, leg: int) -> str:
    """24 characters of [a-z2-7]: 120 bits of SHA-256(signal, account, leg)."""
    digest = hashlib.sha256(signal.bytes + account.bytes + leg.to_bytes(2, "big")).digest()
    return base64.b32encode(digest[:15]).decode().lower()


def cl_ord_id(order: str, attempt: int) -> str:
    """FIX 11: the order's id and the attempt, from 1; at most 28 characters of [0-9a-z.]."""
    if not 1 <= attempt <= 999:
        raise ValueError(f"attempt must be 1 to 999, got {attempt}")
    return f"{order}.{attempt}"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, as its row in `orders` says it. Quantities in whole lots (contracts, shares…)."""

    cl_ord_id: str
    order_id: str
    tenant_id: TenantID
    signal_id: SignalID
    strategy_id: StrategyID
    account_id: AccountID
    part: int
    leg: int
    attempt: int
    place: int
    broker: str
    symbol: str
    side: Side
    order_qty: Decimal
    ord_type: OrdType
    price: Decimal | None
    time_in_force: TimeInForce
    reduce_only: bool
    deadline: datetime
    state: OrdState
    epoch: int
    traceparent: str
    intent_at: datetime
    broker_order_id: str | None = None
    cum_qty: Decimal = Decimal(0)
    avg_px: Decimal | None = None
    role: Role = "main"
    stop_px: Decimal | None = None
    """FIX 99. Of a trailing stop: where it stands now."""
    trail_amount: Decimal | None = None
    trail_percent: Decimal | None = None
    cancel_at: datetime | None = None
    """From then on whoever owns the lane cancels what is still open."""
    protect: Protect | None = None
    """Of an order that opens: what is to stand behind its fills."""
    signal_px: Decimal | None = None
    """The market when the signal fired, as the sender said it; for slippage."""
    arrival_px: Decimal | None = None
    """The market when the plan was made, as the broker said it; for slippage."""
    asked_type: OrdType | None = None
    """Of a held order that was let go: what was asked for, where `ord_type` is now what is sent."""
    best_px: Decimal | None = None
    """The best price that a trailing stop has seen, from the account's side."""
    entry_px: Decimal | None = None
    """Of a stop or target: the average price of the entry that it stands behind."""
    breakeven_px: Decimal | None = None
    """Once the market is there, the stop stands at `entry_px`."""
    trigger_px: Decimal | None = None
    """The price that let a held order go."""
