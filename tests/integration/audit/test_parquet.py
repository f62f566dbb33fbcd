"""The Parquet file of an export, read back by pyarrow: cell by cell what CSV and the proven JSON lines say."""

from __future__ import annotations

import csv
import json
import sys
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow
import pytest
from pyarrow import parquet

from audit.export.check import verify_package
from audit.export.columns import COLUMNS
from audit.export.package import Exporter, Plan
from audit.export.parquet import Parquet
from audit.export.selection import Selection
from audit.merkle import leaf_hash
from audit.record import Kind
from audit.verdict import OK
from tenancy.clock import SystemClock
from tenancy.errors import ConfigurationError, PortcullisError
from tests.fixtures.audit import Bench
from tests.integration.audit.test_export import said

pytestmark = pytest.mark.stack

EXACT = "0.100000000000000000000000000001"
"""More digits than a float has."""
COUNTS = ("serial", "index", "order_number", "corrects")
ERASED, ABSENT = 4, 5


class Erased(PortcullisError):
    code = "erased"


class Ring:
    """Opens all but one payload, whose key was destroyed."""

    async def open_all(self, tenant, rows):
        return [Erased("destroyed") if b'"n":4' in stored else stored for stored, _ in rows]


async def log_of_many_shapes(bench: Bench) -> None:
    order: dict[str, Any] = {
        "order_qty": EXACT, "price": str(Decimal("2000.50")), "reduce_only": True, "symbol": "2330",
        "cum_qty": None, "state": {"was": "new", "is": [1, None]}, "text": "台積電, \"two\"\r\nlines",
    }  # fmt: skip
    await bench.append([
        said(0, oid="o-1", also=order),
        said(1, oid="o-1", kind=Kind.ORDER_FILL, also={"last_px": str(Decimal("1E-8")), "reduce_only": False}),
        said(2, kind=Kind.LOGIN, acct=None, also={"text": "=1+1", "code": "", "id": 9007199254740991}),
        said(3),
        said(4, oid="o-1", also=order),
        said(5, oid="o-2", also=order),
        said(6, also={"why": "-2"}),
    ])  # fmt: skip
    await bench.recorder.drain()
    with psycopg.connect(bench.superuser) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("ALTER TABLE audit_payloads DISABLE TRIGGER ALL")
        conn.execute("DELETE FROM audit_payloads WHERE i = %s", (ABSENT,))
        conn.execute("ALTER TABLE audit_payloads ENABLE TRIGGER ALL")


async def export(bench: Bench, package: Path) -> None:
    exporter = Exporter(bench.admin, bench.scope, bench.store_dir, SystemClock(), opener=Ring())
    plan = Plan(
        export_id=uuid.uuid4(),
        selection=Selection(),
        why="q",
        formats=frozenset({"csv", "parquet"}),
    )
    await exporter.make(plan, package)


@pytest.fixture
async def package(bench, tmp_path, monkeypatch) -> Path:
    """An export of seven records in windows of two and groups of five or more."""
    monkeypatch.setattr(Parquet, "GROUP", 5)
    monkeypatch.setattr("audit.export.rows.WINDOW", 2)
    await log_of_many_shapes(bench)
    await export(bench, tmp_path / "p")
    assert verify_package(tmp_path / "p", bench.log.vkey).verdict.code == OK
    return tmp_path / "p"


def cells(package: Path) -> list[dict[str, Any]]:
    return parquet.read_table(package / "records.parquet").to_pylist()


async def test_every_cell_is_what_the_csv_shows(package):
    """CSV has no None, and an apostrophe before what a spreadsheet would take for a formula."""
    with (package / "records.csv").open(encoding="utf-8", newline="") as file:
        shown = list(csv.DictReader(file))
    found = cells(package)
    assert len(found) == len(shown) == 7
    for typed, text in zip(found, shown, strict=True):
        assert list(typed) == list(text) == list(COLUMNS)
        for name, value in typed.items():
            plain = "" if value is None else str(value)
            formula = isinstance(value, str) and plain[:1] in ("=", "+", "-", "@", "\t", "\r")
            assert text[name] == ("'" + plain if formula else plain), name
    assert (shown[2]["text"], found[2]["text"]) == ("'=1+1", "=1+1")


def as_text(value: Any) -> str | None:
    """What the documentation of the columns says of a payload's member."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def test_every_cell_is_what_the_proven_line_says(package):
    lines = [json.loads(line) for line in (package / "records.jsonl").read_text().splitlines()]
    for line, typed in zip(lines, cells(package), strict=True):
        leaf = json.loads(line["leaf"])
        expected = {
            "serial": line["i"] + 1, "index": line["i"], "happened_at": leaf["ts"],
            "recorded_at": leaf["rt"], "kind": leaf["k"], "order_id": leaf.get("oid"),
            "order_number": leaf.get("on"), "account": leaf.get("acct"),
            "actor_kind": leaf["act"]["kind"], "actor": leaf["act"]["id"], "class": leaf["cls"],
            "corrects": leaf.get("sup"), "trace": leaf.get("cor"), "commitment": leaf["pc"],
            "clock_source": leaf["clk"].get("src"), "clock_error_ns": as_text(leaf["clk"].get("err")),
            "clock_state": leaf["clk"].get("state"),
            "leaf_sha256": leaf_hash(line["leaf"].encode()).hex(),
        }  # fmt: skip
        content = json.loads(line["payload"]) if "payload" in line else {}
        content.pop("k_rec", None)
        state = "erased" if line.get("erased") else "open" if content else "absent"
        expected["payload_state"] = state
        rest = [name for name in COLUMNS if name not in expected and name != "payload"]
        expected |= {name: as_text(content.get(name)) for name in rest}
        whole = typed.pop("payload")
        assert typed == expected
        assert (None if whole is None else json.loads(whole)) == (content or None)


async def test_what_is_exact_missing_erased_and_absent_stays_so(package):
    found = cells(package)
    assert (found[0]["order_qty"], found[0]["price"]) == (EXACT, "2000.50")
    assert Decimal(found[1]["last_px"]) == Decimal("1E-8")
    assert (found[0]["reduce_only"], found[1]["reduce_only"], found[2]["reduce_only"]) == (
        "true", "false", None,
    )  # fmt: skip
    assert (found[0]["cum_qty"], found[2]["code"]) == (None, "")
    said_nothing = COLUMNS[COLUMNS.index("signal_id") :]
    for index, state in ((ERASED, "erased"), (ABSENT, "absent")):
        assert found[index]["payload_state"] == state
        assert {name: found[index][name] for name in said_nothing} == dict.fromkeys(said_nothing)
        assert found[index]["order_id"] is not None


async def test_the_file_is_typed_compressed_and_written_in_groups(package):
    file = parquet.ParquetFile(package / "records.parquet")
    types = {field.name: field.type for field in file.schema_arrow}
    assert {name for name, kind in types.items() if kind == pyarrow.int64()} == set(COUNTS)
    assert {kind for name, kind in types.items() if name not in COUNTS} == {pyarrow.string()}
    groups = [file.metadata.row_group(n) for n in range(file.metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [6, 1]
    assert {group.column(0).compression for group in groups} == {"ZSTD"}


async def test_without_pyarrow_it_is_said_before_anything_is_recorded_or_written(
    bench, tmp_path, monkeypatch
):
    await bench.append([said(0)])
    await bench.recorder.drain()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match="install portcullis with the extra `parquet`"):
        await export(bench, tmp_path / "p")
    assert list(tmp_path.glob("p*")) == []
    assert bench.rows("SELECT count(*) FROM audit_inbox") == [(0,)]
