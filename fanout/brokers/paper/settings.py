"""What an operator decides about paper trading: its instruments and how it fills.

    [brokers.paper]
    slippage_bps = "2"
    [[brokers.paper.instruments]]
    symbol = "BTC_USDT"
    multiplier = "0.0001"
    ...

Numbers are strings: a TOML float is not what somebody wrote.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from fanout.ports import Instrument
from tenancy.values import exact, positive


class PaperInstrument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One tradable thing and its price until somebody moves it. All numbers as in ports.Instrument."""

    symbol: str
    multiplier: str
    lot_step: str
    min_qty: str
    max_qty: str
    tick: str
    currency: str
    last_price: str

    def __post_init__(self) -> None:
        for name in ("multiplier", "lot_step", "min_qty", "max_qty", "tick", "last_price"):
            positive(getattr(self, name), name)

    def instrument(self, now: datetime) -> Instrument:
        return Instrument(
            symbol=self.symbol,
            multiplier=Decimal(self.multiplier),
            lot_step=Decimal(self.lot_step),
            min_qty=Decimal(self.min_qty),
            max_qty=Decimal(self.max_qty),
            tick=Decimal(self.tick),
            currency=self.currency,
            last_price=Decimal(self.last_price),
            mark_price=Decimal(self.last_price),
            as_of=now,
        )


class PaperSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table `[brokers.paper]`. Raises ValueError (msgspec: ValidationError) where values clash."""

    instruments: list[PaperInstrument] = []
    """May be empty where compose.py gives another broker's table instead."""
    slippage_bps: str = "0"
    """By how many hundredths of a percent a market order fills worse than the reference price."""

    def __post_init__(self) -> None:
        if not 0 <= exact(self.slippage_bps, "slippage_bps") < 10_000:
            raise ValueError(f"slippage_bps must be 0 to below 10000, got {self.slippage_bps}")
        symbols = [one.symbol for one in self.instruments]
        if len(set(symbols)) != len(symbols):
            raise ValueError("instruments: each symbol once")
