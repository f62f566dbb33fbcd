"""What an operator decides about paper trading: its instruments and how it fills.

    [brokers.paper]
    slippage_bps = "2"
    [[brokers.paper.instruments]]
    symbol = "BTC_USDT"
    multiplier = "0.0001"
    ...
    spread_bps = "2"                                       # or bid = "59990" and ask = "60010"
    min_notional = "5"
    tick_table = [{ from = "0", tick = "0.1" }, { from = "100000", tick = "1" }]

    imitates = "gateio"                                    # or gateio_spot, shioaji; nothing: paper's own
    taker_fee_bps = "5"
    fill_share = "0.5"
    latency_ms = 20
    prices_file = "/var/lib/portcullis/prices.csv"

Numbers are strings: a TOML float is not what somebody wrote. Without `imitates` quotes inform the spread
filter only: orders fill by the reference price and `slippage_bps`. With it they fill at the quotes.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal

import msgspec

from fanout.brokers.paper.rules import RULES, Imitated
from fanout.ports import Instrument, InstrumentKind
from tenancy.values import exact, positive

BPS = Decimal(10_000)


class PaperTick(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """From this price on, prices have this step."""

    from_: str
    tick: str


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
    bid: str | None = None
    ask: str | None = None
    """With `bid`; a move of the price moves both by as much."""
    spread_bps: str | None = None
    """Instead of both: the distance between them, half on each side of the price."""
    min_notional: str = "0"
    tick_table: tuple[PaperTick, ...] = ()
    kind: InstrumentKind = "perpetual"
    underlying: str | None = None
    option_type: Literal["call", "put"] | None = None
    strike: str | None = None
    expires_on: date | None = None
    stands_for: str | None = None
    limit_up: str | None = None
    limit_down: str | None = None

    def __post_init__(self) -> None:
        for name in ("multiplier", "lot_step", "min_qty", "max_qty", "tick", "last_price"):
            positive(getattr(self, name), name)
        if exact(self.min_notional, "min_notional") < 0:
            raise ValueError("min_notional must not be negative")
        for name in ("limit_up", "limit_down"):
            if (limit := getattr(self, name)) is not None:
                positive(limit, name)
        _check_quotes(self)
        _check_ticks(self.tick_table)
        _check_option(self)

    def instrument(self, now: datetime) -> Instrument:
        """As it is declared, at its first price."""
        return self.at(Decimal(self.last_price), now)

    def at(self, price: Decimal, now: datetime) -> Instrument:
        """At another price."""
        bid, ask = self._quotes(price)
        return Instrument(
            symbol=self.symbol,
            multiplier=Decimal(self.multiplier),
            lot_step=Decimal(self.lot_step),
            min_qty=Decimal(self.min_qty),
            max_qty=Decimal(self.max_qty),
            tick=Decimal(self.tick),
            tick_table=tuple((Decimal(row.from_), Decimal(row.tick)) for row in self.tick_table),
            min_notional=Decimal(self.min_notional),
            currency=self.currency,
            last_price=price,
            mark_price=price,
            bid=bid if bid is not None and bid > 0 else None,
            ask=ask if ask is not None and ask > 0 else None,
            as_of=now,
            kind=self.kind,
            underlying=self.underlying,
            option_type=self.option_type,
            strike=None if self.strike is None else Decimal(self.strike),
            expires_on=self.expires_on,
            stands_for=self.stands_for,
            limit_up=None if self.limit_up is None else Decimal(self.limit_up),
            limit_down=None if self.limit_down is None else Decimal(self.limit_down),
        )

    def _quotes(self, price: Decimal) -> tuple[Decimal | None, Decimal | None]:
        if self.spread_bps is not None:
            half = price * Decimal(self.spread_bps) / BPS / 2
            return price - half, price + half
        if self.bid is None or self.ask is None:
            return None, None
        moved = price - Decimal(self.last_price)
        return Decimal(self.bid) + moved, Decimal(self.ask) + moved


class PaperSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table `[brokers.paper]`. Raises ValueError (msgspec: ValidationError) where values clash."""

    instruments: list[PaperInstrument] = []
    """May be empty where compose.py gives another broker's table instead."""
    slippage_bps: str = "0"
    """By how many hundredths of a percent a market order fills worse than the reference price."""

    conditional_orders: bool = True
    """Stops, stop limits and trailing stops of its own. False: paper as at a venue that has none, where
    the gateway's stop engine holds them."""

    imitates: Imitated | None = None
    """The broker whose order types, refusals, margins, fees and client ids paper takes over (rules.py)."""
    maker_fee_bps: str | None = None
    taker_fee_bps: str | None = None
    """Of what is paid, in hundredths of a percent; nothing said: the imitated broker's, else none."""
    margins: dict[str, str] = {}
    """For shioaji and its shadows: what one lot held needs, by symbol or root. Not stated: its worth by the
    account's leverage."""

    prices: Literal["market", "signal"] = "market"
    """`signal`: an order fills at the price that its signal carries, where it carries one."""
    prices_file: str | None = None
    """Prices of the own instruments by time (tape.py), replayed by the clock."""
    prices_from: Literal["start", "recorded"] = "start"
    """`start`: the file's first row is now when paper is made. `recorded`: each row at its own time."""

    fill_share: str = "1"
    """How much of what is left of an order each price fills."""
    liquidity: str | None = None
    """How many lots an order finds at each price; nothing said: endless."""
    latency_ms: int = 0
    """How long an order is on its way: it meets the price of then."""
    latency_jitter_ms: int = 0
    """At most so much more, drawn from `latency_seed`."""
    latency_seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= exact(self.slippage_bps, "slippage_bps") < BPS:
            raise ValueError(f"slippage_bps must be 0 to below 10000, got {self.slippage_bps}")
        symbols = [one.symbol for one in self.instruments]
        if len(set(symbols)) != len(symbols):
            raise ValueError("instruments: each symbol once")
        _check_terms(self)

    def fees(self) -> tuple[Decimal, Decimal]:
        """Maker's and taker's, as parts of what is paid."""
        rules = RULES[self.imitates]
        return (
            rules.maker_fee if self.maker_fee_bps is None else Decimal(self.maker_fee_bps) / BPS,
            rules.taker_fee if self.taker_fee_bps is None else Decimal(self.taker_fee_bps) / BPS,
        )


LATENCY_MOST_MS = 5_000


def _check_terms(it: PaperSettings) -> None:
    for name in ("maker_fee_bps", "taker_fee_bps"):
        fee = getattr(it, name)
        if fee is not None and abs(exact(fee, name)) >= BPS:
            raise ValueError(f"{name} must be between -10000 and 10000, got {fee}")
    for symbol, margin in it.margins.items():
        positive(margin, f"margins.{symbol}")
    if it.margins and it.imitates != "shioaji":
        raise ValueError('margins belong to imitates = "shioaji"')
    if not 0 < exact(it.fill_share, "fill_share") <= 1:
        raise ValueError(f"fill_share must be above 0, at most 1, got {it.fill_share}")
    if it.liquidity is not None:
        positive(it.liquidity, "liquidity")
    if it.latency_ms < 0 or it.latency_jitter_ms < 0:
        raise ValueError("latency_ms and latency_jitter_ms must not be negative")
    if it.latency_ms + it.latency_jitter_ms > LATENCY_MOST_MS:
        raise ValueError(f"latency_ms and latency_jitter_ms: {LATENCY_MOST_MS} together at most")
    if it.prices_file is not None and not it.instruments:
        raise ValueError("prices_file moves own instruments, and there are none")


def _check_quotes(it: PaperInstrument) -> None:
    if (it.bid is None) != (it.ask is None):
        raise ValueError("bid and ask: both, or neither")
    if it.bid is not None and it.ask is not None:
        if it.spread_bps is not None:
            raise ValueError("spread_bps stands instead of bid and ask")
        if positive(it.bid, "bid") > positive(it.ask, "ask"):
            raise ValueError(f"bid {it.bid} is above ask {it.ask}")
    if it.spread_bps is not None and not 0 <= exact(it.spread_bps, "spread_bps") < BPS:
        raise ValueError(f"spread_bps must be 0 to below 10000, got {it.spread_bps}")


def _check_ticks(table: tuple[PaperTick, ...]) -> None:
    starts = [exact(row.from_, "tick_table.from") for row in table]
    for row in table:
        positive(row.tick, "tick_table.tick")
    if any(start < 0 for start in starts) or starts != sorted(set(starts)):
        raise ValueError("tick_table: `from` is 0 or more, and rises from row to row")


def _check_option(it: PaperInstrument) -> None:
    said = (it.option_type, it.strike, it.expires_on)
    if it.kind != "option":
        if any(member is not None for member in (it.option_type, it.strike)):
            raise ValueError("option_type and strike belong to kind option")
        return
    if it.underlying is None or any(member is None for member in said):
        raise ValueError("an option has underlying, option_type, strike and expires_on")
    positive(it.strike or "", "strike")
