"""docs/brokers.md says of every case at every adapter what the cases themselves say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fanout.brokers
from ops import brokers
from tests.acceptance import cases
from tests.acceptance.case import CASES, Need, case
from tests.acceptance.columns import COLUMNS
from tests.acceptance.desk import Desk
from tests.acceptance.table import PAGE, table, written

assert cases.GROUPS


def test_the_table_on_the_page_is_what_the_cases_say() -> None:
    page = PAGE.read_text()
    assert page == written(page), "run: python -m tests.acceptance.table"


def test_every_adapter_has_a_column() -> None:
    """Who adds an adapter cannot forget the cases."""
    folders = Path(fanout.brokers.__file__).parent.glob("*/adapter.py")
    assert {path.parent.name for path in folders} == {name.split("-")[0] for name in COLUMNS}


def test_every_file_of_cases_is_a_group() -> None:
    folder = Path(str(cases.__file__)).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert files == {group.__name__.rpartition(".")[2] for group in cases.GROUPS}
    assert {one.group for one in CASES.values()} == {
        (group.__doc__ or "").partition(":")[0] for group in cases.GROUPS
    }


def test_numbers_are_numbers_and_are_used_once() -> None:
    assert all(re.fullmatch(r"TC-E\d{2,3}", number) for number in CASES)

    async def another(desk: Desk) -> None:
        raise AssertionError("never run")

    with pytest.raises(ValueError, match="numbers are for ever"):
        case("TC-E01", "something else")(another)


def test_every_need_is_claimed_by_some_adapter_or_by_none_and_then_refused_by_all() -> None:
    """A need that no adapter misses would be no need; what all of them refuse is still asserted."""
    claims = [column.claims() for column in COLUMNS.values()]
    needs: dict[str, Need] = {one.need.name: one.need for one in CASES.values() if one.need}
    auctions = {"market opg", "market cls", "limit opg", "limit cls"}
    nobody = {name for name, need in needs.items() if not any(map(need.claimed, claims))}
    assert nobody == auctions
    assert "| TC-E01 | " in table()


def test_the_template_is_no_broker_of_production() -> None:
    assert "template" not in Path(str(brokers.__file__)).read_text()
