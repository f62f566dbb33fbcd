"""Prices from a file, replayed by the clock: CSV with a heading, or one JSON object a line.

    time,symbol,price                                          {"time": "2026-11-02T09:00:00Z",
    2026-11-02T09:00:00Z,BTC_USDT,60000                         "symbol": "BTC_USDT", "price": "60000"}

`time` is ISO 8601 with an offset, and rises or stays from row to row; `price` is a decimal above 0. The
first row's moment is the moment of the start, or each row's its own (`prices_from`). Before a symbol's
first row its declared price holds, after its last row the last one.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Set
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal

import msgspec

from tenancy.errors import ConfigurationError
from tenancy.values import positive

ROWS_MAX = 1_000_000


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    time: str
    symbol: str
    price: str


class Price(msgspec.Struct, frozen=True):
    """From this moment on."""

    at: datetime
    symbol: str
    price: Decimal


class PriceTape:
    """What is due by now, each price once."""

    def __init__(self, prices: list[Price], shift: timedelta = timedelta(0)) -> None:
        self._prices = prices
        self._shift = shift
        self._next = 0

    @classmethod
    def read(
        cls, path: str, symbols: Set[str], start: Literal["start", "recorded"], now: datetime
    ) -> PriceTape:
        """Raises ConfigurationError, with the line that is wrong and why."""
        prices: list[Price] = []
        line = 0
        try:
            text = Path(path).read_text(encoding="utf-8")
            for number, row in _rows(text):
                line = number
                prices.append(_price(row, symbols, prices[-1].at if prices else None))
                if len(prices) > ROWS_MAX:
                    raise ValueError(f"more than {ROWS_MAX} prices")
            if not prices:
                raise ValueError("no prices in it")
        except (OSError, ValueError) as why:
            where = f" line {line}" if line else ""
            raise ConfigurationError(f"brokers.paper.prices_file {path}{where}: {why}") from None
        shift = now - prices[0].at if start == "start" else timedelta(0)
        return cls(prices, shift)

    def due(self, now: datetime) -> Iterator[tuple[str, Decimal]]:
        """What came since the last time, oldest first."""
        while self._next < len(self._prices):
            one = self._prices[self._next]
            if one.at + self._shift > now:
                return
            self._next += 1
            yield one.symbol, one.price


def _rows(text: str) -> Iterator[tuple[int, _Row]]:
    lines = text.splitlines()
    if lines and lines[0].lstrip().startswith("{"):
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    row = msgspec.json.decode(line, type=_Row)
                except msgspec.DecodeError as why:
                    raise ValueError(f"line {number}: {why}") from None
                yield number, row
        return
    table = csv.DictReader(lines)
    if set(table.fieldnames or ()) != {"time", "symbol", "price"}:
        raise ValueError("the heading must be time,symbol,price, or each line a JSON object")
    for cells in table:
        if None in cells or None in cells.values():
            raise ValueError(f"line {table.line_num}: three cells are needed")
        yield table.line_num, _Row(**cells)


def _price(row: _Row, symbols: Set[str], before: datetime | None) -> Price:
    at = datetime.fromisoformat(row.time)
    if at.tzinfo is None:
        raise ValueError(f"time {row.time!r} has no offset, such as Z")
    if before is not None and at < before:
        raise ValueError(f"time {row.time} is before the row above")
    if row.symbol not in symbols:
        raise ValueError(f"{row.symbol!r} is none of the instruments")
    return Price(at, row.symbol, positive(row.price, "price"))
