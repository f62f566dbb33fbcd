"""What a signal would do at every account, as columns in fan-out order. Pure: entries in, numbers for an SVG out.

A column is an account's size, up to buy and down to sell, against the largest of all. More accounts than there is
room for share a column, which is then the largest of them: nothing that sticks out disappears.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

WIDTH, HEIGHT = 1000, 200
MIDDLE = HEIGHT / 2
COLUMNS_MOST = 250
LEAST = 2
"""What is drawn at all is seen."""


class Column(NamedTuple):
    """A rectangle in units of the drawing. `kind`: buy, sell, asked."""

    x: float
    y: float
    width: float
    height: float
    kind: str


class Chart(NamedTuple):
    """`each`: how many accounts share a column. `most`: what a whole column stands for."""

    columns: list[Column]
    each: int
    most: Decimal


def size(entry: Mapping[str, Any]) -> Decimal:
    """Signed lots of all legs of an account together."""
    legs = entry["legs"]
    return sum(
        (Decimal(leg["order_qty"]) * (1 if leg["side"] == "buy" else -1) for leg in legs),
        Decimal(0),
    )


def chart(entries: Sequence[Mapping[str, Any]]) -> Chart:
    """Of all entries, in their order."""
    each = max(1, -(-len(entries) // COLUMNS_MOST))
    groups = [entries[at : at + each] for at in range(0, len(entries), each)]
    largest = [max(group, key=lambda one: abs(size(one))) for group in groups]
    most = max((abs(size(one)) for one in largest), default=Decimal(0))
    if most == 0:
        return Chart([], each, most)
    step = WIDTH / len(largest)
    drawn = [
        _column(one, number * step, step, most) for number, one in enumerate(largest) if size(one)
    ]
    return Chart(drawn, each, most)


def _column(entry: Mapping[str, Any], x: float, step: float, most: Decimal) -> Column:
    lots = size(entry)
    height = max(LEAST, float(abs(lots) / most) * MIDDLE)
    top = MIDDLE - height if lots > 0 else MIDDLE
    kind = "asked" if entry["decision"] == "asked" else "buy" if lots > 0 else "sell"
    gap = step * 0.15
    return Column(
        round(x + gap / 2, 2), round(top, 2), round(step - gap, 2), round(height, 2), kind
    )
