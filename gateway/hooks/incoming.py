"""A checked signal on its way into the database, and what became of it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from gateway.hooks.records import Note
from gateway.hooks.tradingview import Window
from tenancy.values import SignalID, StrategyID, TenantID


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A checked signal, as its row will say it."""

    signal_id: SignalID
    tenant_id: TenantID
    strategy_id: StrategyID
    hook_id: str
    message_id: str
    part: int
    ticker: str
    body: bytes
    body_sha256: bytes
    traceparent: str
    received_at: datetime
    not_before: datetime | None = None
    window: Window | None = None
    """Of a sender without ids: within it the same body is the same message."""
    note: Note


class Kept(msgspec.Struct, frozen=True):
    """It is durable. A repeat names the first one's signal and trace."""

    signal_id: SignalID
    traceparent: str
    repeated: bool
    receipt: str = ""
    """Of the record of this very delivery (audit/receipts.py)."""
