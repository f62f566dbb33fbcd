"""What a shadow report says of rows: side by side, in basis points, with means that know their n."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from gateway.admin.shadow_report import as_csv, compared, period, summed
from tenancy.errors import Invalid

NOW = datetime(2026, 11, 20, tzinfo=UTC)
LIVE, SHADOW = uuid4(), uuid4()


def row(signal: int, account: UUID, filled: str, price: str | None, **said: object):
    """As the database gives it."""
    values = {"ticker": "BTC", "symbol": "BTC_USDT", "side": "buy", "role": "main", "ms": 5, **said}
    ms = values["ms"]
    return (
        UUID(int=signal), values["ticker"], NOW, values["symbol"], values["side"], values["role"],
        account, Decimal(4), Decimal(filled), None if price is None else Decimal(price),
        None if ms is None else timedelta(milliseconds=ms),  # type: ignore[arg-type]
    )  # fmt: skip


def report(*rows):
    return summed(compared(rows, SHADOW), LIVE, SHADOW, NOW, NOW)


@pytest.mark.parametrize(
    ("side", "paid", "reference", "worse"),
    [
        ("buy", "101", "100", "100"), ("buy", "99", "100", "-100"), ("sell", "99", "100", "100"),
        ("sell", "101", "100", "-100"), ("buy", None, "100", None), ("buy", "100", None, None),
    ],
)  # fmt: skip
def test_dearer_when_bought_and_cheaper_when_sold_is_worse(side, paid, reference, worse):
    (one,) = report(
        row(1, LIVE, "4", paid, side=side), row(1, SHADOW, "4", reference, side=side)
    ).signals
    assert one.worse_bps == worse


def test_means_are_of_the_rows_that_have_the_number():
    made = report(
        row(1, LIVE, "4", "101", ms=30), row(1, SHADOW, "4", "100", ms=10),
        row(2, LIVE, "4", "99", side="sell", ms=None), row(2, SHADOW, "2", "100", side="sell"),
        row(3, LIVE, "0", None, ms=None), row(3, SHADOW, "4", "100"),
        row(4, SHADOW, "4", "100", symbol="ETH_USDT"),
    )  # fmt: skip
    assert (made.both, made.live_only, made.shadow_only) == (3, 0, 1)
    assert (made.worse_bps.mean, made.worse_bps.n) == ("100", 2)
    assert (made.live_filled_after_ms.mean, made.live_filled_after_ms.n) == ("30", 1)
    assert (made.shadow_filled_after_ms.mean, made.shadow_filled_after_ms.n) == ("6.25", 4)
    assert [(one.symbol, one.live_filled, one.shadow_filled) for one in made.symbols] == [
        ("BTC_USDT", "8", "10"), ("ETH_USDT", "0", "4"),
    ]  # fmt: skip


def test_legs_behind_a_position_are_rows_of_their_own():
    made = report(
        row(1, LIVE, "4", "100"), row(1, SHADOW, "4", "100"),
        row(1, LIVE, "4", "90", side="sell", role="stop"),
        row(1, SHADOW, "4", "95", side="sell", role="stop"),
    )  # fmt: skip
    assert [(one.role, one.worse_bps) for one in made.signals] == [
        ("main", "0"),
        ("stop", "526.3158"),
    ]


def test_a_spreadsheet_takes_no_ticker_for_a_formula_and_finds_every_column():
    made = report(row(1, LIVE, "4", "101", ticker="=1+1"), row(2, SHADOW, "4", "100", ms=None))
    first, second = csv.DictReader(io.StringIO(as_csv(made).decode()))
    assert (first["ticker"], first["live_price"], first["shadow_price"]) == ("'=1+1", "101", "")
    assert (second["shadow_filled"], second["shadow_filled_after_ms"], second["worse_bps"]) == (
        "4", "", "",
    )  # fmt: skip


def test_nothing_is_compared_from_before_there_was_a_shadow():
    made = NOW - timedelta(days=3)
    assert period(None, None, made, NOW) == (made, NOW)
    assert period(NOW - timedelta(days=1), None, made, NOW) == (NOW - timedelta(days=1), NOW)
    for since, until in ((NOW, NOW), (NOW - timedelta(days=400), NOW)):
        with pytest.raises(Invalid):
            period(since, until, made, NOW)
