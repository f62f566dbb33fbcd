"""What a regulator's package has beside the records: the rule's own fields, an index, the audit of the audit.

`orders.csv` has a line for each thing that was done to an order. What stands in an earlier record of
the same story (the order's terms, the signal that wanted it and from where) is joined to it, out of a
bounded memory of the records of this export; where they were not chosen with it, the cell is empty.
"""

from __future__ import annotations

import csv
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from audit.export.regimes import ABOUT_THE_LOG, NOT_HELD, Name, Regime, regime
from audit.export.row import Row
from audit.export.writers import Writer, harmless
from audit.record import Kind

REMEMBERED = 100_000
"""Orders, and signals, whose beginnings are kept in mind while an export is written."""


def parts(name: Name) -> list[Callable[[Path], Writer]]:
    """What is written beside the records for that rule."""
    known = regime(name)
    return [partial(_Orders, known), _Index, _AuditOfTheAudit, partial(_Fields, known)]


class _Csv:
    """One CSV file of the package."""

    needs_cells = False

    def __init__(self, directory: Path, name: str, columns: Iterable[str]) -> None:
        self._name = name
        self._file = (directory / name).open("w", encoding="utf-8", newline="", buffering=1 << 18)
        self._lines = csv.writer(self._file, lineterminator="\r\n")
        self._lines.writerow(columns)

    def _add(self, cells: Sequence[Any]) -> None:
        self._lines.writerow(harmless(cells))

    def close(self) -> list[str]:
        self._file.close()
        return [self._name]


class _Remembered:
    """The last so many of something, by name."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def put(self, name: str, said: dict[str, Any]) -> None:
        self._kept[name] = said
        self._kept.move_to_end(name)
        if len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)

    def of(self, name: Any) -> dict[str, Any]:
        return self._kept.get(name, {}) if isinstance(name, str) else {}


class _Orders(_Csv):
    """`orders.csv`: the rule's own fields."""

    def __init__(self, regime: Regime, directory: Path) -> None:
        self._regime = regime
        heads = (f.column if f.is_held else f"{f.column} ({NOT_HELD})" for f in regime.fields)
        super().__init__(directory, "orders.csv", heads)
        self._orders, self._signals = _Remembered(), _Remembered()

    def write(self, rows: Sequence[Row], cells: Sequence[list[Any]]) -> None:
        for row in rows:
            kind, said = row.members["k"], row.said
            if kind == Kind.SIGNAL_ACCEPTED and "signal_id" in said:
                known = {name: said.get(name) for name in ("client", "strategy_id")}
                self._signals.put(said["signal_id"], known | {"ts": row.members["ts"]})
            terms = self._orders.of(said.get("cl_ord_id"))
            if kind in (Kind.ORDER_INTENT, Kind.ORDER_HELD) and "cl_ord_id" in said:
                terms = terms | said
                self._orders.put(said["cl_ord_id"], terms)
            if kind in self._regime.kinds:
                order = terms | said
                signal = self._signals.of(order.get("signal_id"))
                self._add([_cell(f.held, row, order, signal) for f in self._regime.fields])


def _cell(held: str, row: Row, order: dict[str, Any], signal: dict[str, Any]) -> Any:
    if held == "serial":
        return row.index + 1
    where, _, member = held.partition(".")
    if where == "order":
        return order.get(member)
    if where == "signal":
        return signal.get(member)
    if where != "leaf":
        return None
    value: Any = row.members.get(member)
    if member == "act":
        return f"{value['kind']} {value['id']}"
    if member == "clk":
        return value.get("err")
    return value


class _Index(_Csv):
    """`index.csv`: what is needed to find a record: each line one record by order, account, kind and time."""

    def __init__(self, directory: Path) -> None:
        columns = ("serial", "recorded_at", "kind", "order_id", "account", "actor")
        super().__init__(directory, "index.csv", columns)

    def write(self, rows: Sequence[Row], cells: Sequence[list[Any]]) -> None:
        for row in rows:
            leaf = row.members
            self._add(
                [row.index + 1, leaf["rt"], leaf["k"], leaf.get("oid"), leaf.get("acct"),
                 f"{leaf['act']['kind']} {leaf['act']['id']}"]
            )  # fmt: skip


class _AuditOfTheAudit(_Csv):
    """`audit-of-the-audit.csv`: exports, holds, releases, erasures, keys, the clock: who and when."""

    def __init__(self, directory: Path) -> None:
        columns = ("serial", "recorded_at", "kind", "event", "actor", "why")
        super().__init__(directory, "audit-of-the-audit.csv", columns)

    def write(self, rows: Sequence[Row], cells: Sequence[list[Any]]) -> None:
        for row in rows:
            if row.members["k"] in ABOUT_THE_LOG:
                leaf, actor = row.members, row.members["act"]
                self._add(
                    [row.index + 1, leaf["rt"], leaf["k"], row.said.get("event"),
                     f"{actor['kind']} {actor['id']}", row.said.get("why")]
                )  # fmt: skip


class _Fields(_Csv):
    """`fields.csv`: what each column of `orders.csv` is, and what of the rule is not held."""

    def __init__(self, regime: Regime, directory: Path) -> None:
        super().__init__(directory, "fields.csv", ("column", "asked for", "where it stands"))
        for field in regime.fields:
            self._add([field.column, field.asked, field.held])

    def write(self, rows: Sequence[Row], cells: Sequence[list[Any]]) -> None:
        return
