"""A report as CSV (RFC 4180): one header line, one line for each row, UTF-8.

A text that a spreadsheet would take for a formula gets an apostrophe before it: account names are other
people's words.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gateway.reports.execution import Execution
from gateway.reports.fairness import Fairness

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def fairness_csv(report: Fairness) -> bytes:
    """One line for each account."""
    columns, rows = _flat(report.accounts)
    return _csv(columns, rows)


def execution_csv(report: Execution) -> bytes:
    """One line for each row."""
    columns, rows = _flat(report.rows)
    return _csv(columns, rows)


def _flat(items: Sequence[Any]) -> tuple[list[str], list[list[Any]]]:
    """Documents inside become columns of their own: `place_mean`, `send_ms_low`."""
    made = [dict(_members("", item)) for item in items]
    columns = list(made[0]) if made else []
    return columns, [[row[name] for name in columns] for row in made]


def _members(prefix: str, item: msgspec.Struct) -> Iterable[tuple[str, Any]]:
    for name in item.__struct_fields__:
        value = getattr(item, name)
        if isinstance(value, msgspec.Struct):
            yield from _members(f"{prefix}{name}_", value)
        else:
            yield prefix + name, value


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return "" if value is None else value
