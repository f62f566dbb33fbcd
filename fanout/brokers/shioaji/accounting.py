"""Positions and money as SinoPac has them, in our words. Pure.

A futures account: `margin().equity` is what it is worth, open profit included; `available_margin` what
is left to open with. A stock account: the cash, and the positions at their last price; what is not
settled yet (two days) is not counted. Simulation says zero for all of it: there the account's stated
equity counts, and where none is stated nothing can be sized.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from fanout.brokers.shioaji import errors
from fanout.brokers.shioaji.calls import Slow
from fanout.brokers.shioaji.port import SdkBalance, SdkMargin, SdkPosition
from fanout.brokers.shioaji.reading import word
from fanout.ports import BrokerPosition, Equity
from tenancy.errors import Unavailable

CURRENCY = "TWD"


@contextmanager
def answered() -> Iterator[None]:
    """What the SDK raises for a question is Unavailable: nothing is known."""
    try:
        yield
    except Unavailable:
        raise
    except Slow as why:
        raise Unavailable(str(why)) from why
    except Exception as error:
        raise Unavailable(f"SinoPac did not answer: {errors.words(error)}") from error


def money(number: float) -> Decimal:
    """Raises Unavailable for what is none."""
    value = Decimal(repr(float(number)))
    if not value.is_finite():
        raise Unavailable(f"SinoPac says {number} where an amount belongs")
    return value


def positions(rows: Iterable[SdkPosition]) -> list[BrokerPosition]:
    """One row per code: SinoPac may list several of one (by condition). Raises Unavailable."""
    found: dict[str, tuple[Decimal, Decimal, Decimal]] = {}
    for row in rows:
        direction = word(row.direction)
        if direction not in ("Buy", "Sell"):
            raise Unavailable(f"a position of SinoPac's is {direction!r}")
        qty = Decimal(int(row.quantity)) * (1 if direction == "Buy" else -1)
        held, worth, pnl = found.get(row.code, (Decimal(0), Decimal(0), Decimal(0)))
        found[row.code] = (held + qty, worth + qty * money(row.price), pnl + money(row.pnl))
    return [
        BrokerPosition(symbol=code, qty=qty, avg_px=abs(worth / qty), unrealised_pnl=pnl)
        for code, (qty, worth, pnl) in found.items()
        if qty != 0
    ]


def of_margin(margin: SdkMargin, now: datetime) -> Equity:
    """Raises Unavailable."""
    return Equity(
        equity=money(margin.equity),
        available=money(margin.available_margin),
        currency=CURRENCY,
        as_of=now,
        unrealised=money(margin.future_open_position),
    )


def of_balance(balance: SdkBalance, rows: Iterable[Any], now: datetime) -> Equity:
    """Raises Unavailable, also where SinoPac says that it could not read the balance."""
    if balance.errmsg:
        raise Unavailable(f"SinoPac's balance: {balance.errmsg}")
    cash = money(balance.acc_balance)
    held = list(rows)
    worth = sum((money(row.last_price) * _signed(row) for row in held), Decimal(0))
    return Equity(
        equity=cash + worth,
        available=cash,
        currency=CURRENCY,
        as_of=now,
        unrealised=sum((money(row.pnl) for row in held), Decimal(0)),
    )


def _signed(row: SdkPosition) -> int:
    return int(row.quantity) * (1 if word(row.direction) == "Buy" else -1)


def stated(equity: Decimal | None, now: datetime) -> Equity:
    """Raises Unavailable where none is stated."""
    if equity is None:
        raise Unavailable("SinoPac's simulation has no money: state the account's equity")
    return Equity(equity=equity, available=equity, currency=CURRENCY, as_of=now)
