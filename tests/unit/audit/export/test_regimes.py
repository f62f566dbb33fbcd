"""Regulators' packages: every field of a rule is a column, and what is not held is said."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from audit.export import regimes
from audit.export.check import verify_package
from audit.export.row import Row
from audit.verdict import OK
from tests.fakes.audit_log import KEY
from tests.fakes.audit_package import Records, make_package

ROOT = Path(__file__).parents[4]


def test_the_page_of_the_rules_is_what_the_tables_say():
    assert (ROOT / "docs/audit/regimes.md").read_text() == regimes.page()


@pytest.mark.parametrize("rule", regimes.REGIMES, ids=lambda one: one.name)
def test_a_package_holds_each_field_of_its_rule(tmp_path, rule):
    package = make_package(tmp_path / "p", Records(30), regime=rule.name)
    assert verify_package(package, str(KEY)).verdict.code == OK
    lines = table(package / "orders.csv")
    assert list(lines[0] if lines else _heads(package)) == [
        f.column if f.is_held else f"{f.column} (not held)" for f in rule.fields
    ]
    assert [line["column"] for line in table(package / "fields.csv")] == [
        f.column for f in rule.fields
    ]
    index = table(package / "index.csv")
    assert [int(line["serial"]) for line in index] == list(range(1, 31))


def test_an_order_line_knows_the_terms_and_the_address_it_came_from(tmp_path):
    """Joined from earlier records of the same export: the signal, then the order's intent."""
    records = Records(3)
    changes = (
        ("signal.accepted", {"signal_id": "s-1", "client": "192.0.2.7", "strategy_id": "t"}),
        ("order.intent", {"cl_ord_id": "o.1", "signal_id": "s-1", "symbol": "2330", "side": "buy",
                          "order_qty": "1000", "price": "900"}),
        ("order.cancel", {"cl_ord_id": "o.1"}),
    )  # fmt: skip
    rows = [
        Row(row.index, row.leaf, row.digest, row.members | {"k": kind}, "open", b"{}", said)
        for row, (kind, said) in zip(records.rows, changes, strict=True)
    ]
    package = make_package(tmp_path / "p", records, rows, regime="twse")
    intent, cancel = table(package / "orders.csv")
    assert (intent["serial"], intent["client_ip"], intent["symbol"]) == ("2", "192.0.2.7", "2330")
    assert (cancel["event"], cancel["order_qty"], cancel["client_ip"]) == (
        "order.cancel", "1000", "192.0.2.7",
    )  # fmt: skip


def table(file):
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def _heads(package):
    with (package / "orders.csv").open(newline="") as lines:
        return next(csv.reader(lines))
