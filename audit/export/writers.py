"""Records as files for programs: JSON lines and CSV; written batch by batch, never held whole.

JSON lines is the form that proves: each line holds the leaf's very bytes and, where it is given, the
payload's. CSV is the same records in columns (audit/export/columns.py), for tables, and so is
Parquet (audit/export/parquet.py). Standard library only: an examiner's reader writes with this file.
"""

from __future__ import annotations

import base64
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from audit.export.columns import COLUMNS
from audit.export.row import Row, packed

_FORMULA = frozenset("=+-@\t\r")


class Writer(Protocol):
    """Takes batches in order. The files are whole after close()."""

    needs_cells: bool

    def write(self, rows: Sequence[Row], cells: Sequence[list[Any]]) -> None:
        """`cells`: the rows' values() where `needs_cells`, else nothing."""
        ...

    def close(self) -> list[str]:
        """Names of the files that were written."""
        ...


class JsonLines:
    """`records.jsonl`: {"i", "leaf", and one of "payload", "sealed" (base64) or "erased"}."""

    needs_cells = False
    NAME = "records.jsonl"

    def __init__(self, directory: Path) -> None:
        self._file = (directory / self.NAME).open("wb", buffering=1 << 20)

    def write(self, rows: Sequence[Row], cells: Sequence[list[Any]]) -> None:
        self._file.write(b"".join([packed(line(row)) + b"\n" for row in rows]))

    def close(self) -> list[str]:
        self._file.close()
        return [self.NAME]


def line(row: Row) -> dict[str, Any]:
    """One record of `records.jsonl`."""
    said: dict[str, Any] = {"i": row.index, "leaf": row.leaf.decode()}
    if row.payload is not None:
        said["payload"] = row.payload.decode()
    elif row.sealed is not None:
        said["sealed"] = base64.b64encode(row.sealed).decode()
    elif row.state == "erased":
        said["erased"] = True
    return said


class Csv:
    """`records.csv` (RFC 4180, UTF-8). A text that a spreadsheet would take for a formula gets an
    apostrophe before it: much of it is other people's words."""

    needs_cells = True
    NAME = "records.csv"

    def __init__(self, directory: Path) -> None:
        self._file = (directory / self.NAME).open(
            "w", encoding="utf-8", newline="", buffering=1 << 20
        )
        self._writer = csv.writer(self._file, lineterminator="\r\n")
        self._writer.writerow(COLUMNS)

    def write(self, rows: Sequence[Row], cells: Sequence[list[Any]]) -> None:
        self._writer.writerows(map(harmless, cells))

    def close(self) -> list[str]:
        self._file.close()
        return [self.NAME]


def harmless(cells: Sequence[Any]) -> list[Any]:
    """The cells as a spreadsheet may open them."""
    formula = _FORMULA
    return ["'" + cell if cell.__class__ is str and cell[:1] in formula else cell for cell in cells]
