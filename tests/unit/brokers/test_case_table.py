"""docs/brokers.md names every case of the contract suite, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_page_lists_exactly_the_cases_of_the_suite() -> None:
    files = ("test_broker.py", "test_broker_stops.py")
    suite = "".join((ROOT / "tests/contract" / name).read_text() for name in files)
    page = (ROOT / "docs/brokers.md").read_text()
    written = re.findall(r"^async def test_(b\d\d)_", suite, re.MULTILINE)
    listed = re.findall(r"^\| (b\d\d) \|", page, re.MULTILINE)
    assert listed == written
    assert len(set(written)) == len(written)
