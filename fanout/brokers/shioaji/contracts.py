"""What one contract of Taiwan's exchanges is: units, ticks, limits of the day. Pure.

Sources: TWSE operating rules article 62 (steps of stock prices), TWSE ETF rules (two steps), TAIFEX
contract specifications (TX: 200 TWD a point, MTX: 50, TMF: 10; TXO: 50 TWD a point, premium steps).
A root that is not in the table trades only where the broker's own contract names a multiplier; where
the two differ the contract is left out, since a size that is wrong by a factor is the worst that a
sizing can do.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from fanout.ports import Instrument

D = Decimal
Kind = Literal["stock", "future", "option"]
Steps = tuple[tuple[Decimal, Decimal], ...]

MULTIPLIERS = {"TXF": D(200), "MXF": D(50), "TMF": D(10), "TXO": D(50)}
"""Taiwan dollars per point, by root."""

STOCK_STEPS: Steps = (
    (D(0), D("0.01")), (D(10), D("0.05")), (D(50), D("0.1")), (D(100), D("0.5")),
    (D(500), D(1)), (D(1000), D(5)),
)  # fmt: skip
FUND_STEPS: Steps = ((D(0), D("0.01")), (D(50), D("0.05")))
OPTION_STEPS: Steps = (
    (D(0), D("0.1")), (D(10), D("0.5")), (D(50), D(1)), (D(500), D(5)), (D(1000), D(10)),
)  # fmt: skip
FUTURE_STEP = D(1)

LOT = D(1000)
STOCK_MOST, ODD_MOST = D(499_000), D(999)
"""Shares in one order: 499 lots, or an odd lot."""


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """One contract as the session's table has it. Prices None where the broker named none."""

    symbol: str
    code: str
    """What is really traded: of a continuous future the contract of its month."""
    kind: Kind
    odd: bool = False
    """Of a stock: traded in single shares here, not in lots of 1,000."""
    multiplier: Decimal
    most: Decimal
    """In one order."""
    steps: Steps
    limit_up: Decimal | None
    limit_down: Decimal | None
    reference: Decimal | None
    underlying: str | None = None
    option_type: Literal["call", "put"] | None = None
    strike: Decimal | None = None
    expires_on: date | None = None

    @property
    def lot_step(self) -> Decimal:
        return LOT if self.kind == "stock" and not self.odd else D(1)

    @property
    def unit(self) -> Decimal:
        """How many of ours (shares, contracts) are one of the SDK's `quantity`."""
        return self.lot_step

    def tick_at(self, price: Decimal) -> Decimal:
        return [step for least, step in self.steps if least <= price][-1]


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot: what traded last, and the best of the book."""

    code: str
    last: Decimal | None
    bid: Decimal | None
    ask: Decimal | None


def decimal_of(number: float | None) -> Decimal | None:
    """The SDK's float as it is written, and None for what is no price: zero, NaN, endless."""
    if number is None:
        return None
    value = D(repr(float(number)))
    return value if value.is_finite() and value > 0 else None


def stock(raw: Any, *, odd: bool) -> Contract:
    code = str(raw.code)
    return Contract(
        symbol=code,
        code=code,
        kind="stock",
        odd=odd,
        multiplier=D(1),
        most=ODD_MOST if odd else STOCK_MOST,
        steps=FUND_STEPS if code.startswith("00") else STOCK_STEPS,
        limit_up=decimal_of(raw.limit_up),
        limit_down=decimal_of(raw.limit_down),
        reference=decimal_of(raw.reference),
    )


def derivative(raw: Any, root: str, most: int) -> Contract | None:
    """A future or an option of `root`; None where nobody can say what one of it is worth."""
    stated = D(int(raw.multiplier or 0))
    known = MULTIPLIERS.get(root)
    if known is None:
        if stated <= 1:
            return None
    elif stated > 1 and stated != known:
        return None
    right = str(raw.option_right.value).lower() if raw.option_right is not None else ""
    option = {"c": "call", "call": "call", "p": "put", "put": "put"}.get(right)
    return Contract(
        symbol=str(raw.code),
        code=str(raw.target_code or raw.code),
        kind="future" if option is None else "option",
        multiplier=known or stated,
        most=D(most),
        steps=((D(0), FUTURE_STEP),) if option is None else OPTION_STEPS,
        limit_up=decimal_of(raw.limit_up),
        limit_down=decimal_of(raw.limit_down),
        reference=decimal_of(raw.reference),
        underlying=root,
        option_type=option,  # type: ignore[arg-type]
        strike=None if option is None else decimal_of(raw.strike_price),
        expires_on=_day(raw.delivery_date),
    )


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat((text or "").replace("/", "-"))
    except ValueError:
        return None


def instrument(contract: Contract, quote: Quote | None, as_of: datetime) -> Instrument:
    """As sizing needs it. Without a quote it has no price: yesterday's close is none."""
    return Instrument(
        symbol=contract.symbol,
        multiplier=contract.multiplier,
        lot_step=contract.lot_step,
        min_qty=contract.lot_step,
        max_qty=contract.most,
        tick=contract.steps[0][1],
        tick_table=contract.steps if len(contract.steps) > 1 else (),
        currency="TWD",
        limit_up=contract.limit_up,
        limit_down=contract.limit_down,
        last_price=None if quote is None else quote.last,
        mark_price=None,
        bid=None if quote is None else quote.bid,
        ask=None if quote is None else quote.ask,
        as_of=as_of,
        kind=contract.kind,
        underlying=contract.underlying,
        option_type=contract.option_type,
        strike=contract.strike,
        expires_on=contract.expires_on,
        stands_for=contract.code if contract.code != contract.symbol else None,
    )


def by_symbol(contracts: Iterable[Contract | None]) -> dict[str, Contract]:
    return {contract.symbol: contract for contract in contracts if contract is not None}
