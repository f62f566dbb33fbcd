"""Records as Apache Parquet: the same columns as CSV, typed and compressed.

pyarrow (Apache-2.0) is the extra `parquet`: 170 MB installed, which is why nobody gets it unasked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audit.export.columns import COLUMNS, INTEGERS
from audit.export.row import Row
from tenancy.errors import ConfigurationError


def pyarrow() -> tuple[Any, Any]:
    """The modules `pyarrow` and `pyarrow.parquet`. Raises ConfigurationError where they are not installed."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigurationError(
            "Parquet needs pyarrow: install portcullis with the extra `parquet`"
        ) from None
    return arrow, parquet


class Parquet:
    """`records.parquet`, compressed with Zstandard. Needs pyarrow, the extra `parquet`."""

    needs_cells = True
    NAME = "records.parquet"
    GROUP = 65_536
    """Records in one row group: what is held in memory at most."""

    def __init__(self, directory: Path) -> None:
        arrow, parquet = pyarrow()
        self._arrow = arrow
        types = [arrow.int64() if name in INTEGERS else arrow.string() for name in COLUMNS]
        self._schema = arrow.schema(list(zip(COLUMNS, types, strict=True)))
        self._writer = parquet.ParquetWriter(
            directory / self.NAME, self._schema, compression="zstd"
        )
        self._waiting: list[list[Any]] = []

    def write(self, rows: Sequence[Row], cells: Sequence[list[Any]]) -> None:
        self._waiting += cells
        if len(self._waiting) >= self.GROUP:
            self._flush()

    def close(self) -> list[str]:
        if self._waiting:
            self._flush()
        self._writer.close()
        return [self.NAME]

    def _flush(self) -> None:
        columns = [list(column) for column in zip(*self._waiting, strict=True)]
        self._writer.write_table(self._arrow.Table.from_pydict(
            dict(zip(COLUMNS, columns, strict=True)), schema=self._schema
        ))  # fmt: skip
        self._waiting = []
