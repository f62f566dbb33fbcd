"""Write the table *case x adapter* into docs/brokers.md: `python -m tests.acceptance.table`.

What stands between the two marks is made from the cases and the adapters' Caps, and from nothing else;
tests/acceptance/test_page.py says when it is not what they say.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from tests.acceptance import cases
from tests.acceptance.case import CASES, Case, Need
from tests.acceptance.columns import COLUMNS

PAGE = Path(__file__).parents[2] / "docs/brokers.md"
BEGIN = "<!-- made by python -m tests.acceptance.table: begin -->"
END = "<!-- made by python -m tests.acceptance.table: end -->"
assert cases.GROUPS


def table() -> str:
    """The lines between the marks."""
    return "\n".join([*_cases(), "", *_instead()])


def _cases() -> Iterator[str]:
    names = sorted(COLUMNS)
    claims = {name: COLUMNS[name].claims() for name in names}
    yield f"| case | claim | {' | '.join(names)} |"
    yield "| --- " * (len(names) + 2) + "|"
    for group, rows in groupby(CASES.values(), key=lambda one: one.group):
        yield f"| | **{group}** |" + " |" * len(names)
        for case in rows:
            cells = ("yes" if case.met_by(claims[name]) else "refused" for name in names)
            yield f"| {case.number} | {case.claim}{_note(case)} | {' | '.join(cells)} |"


def _note(case: Case) -> str:
    return "" if case.need is None else f" ({case.need.name})"


def _instead() -> Iterator[str]:
    yield "| where an adapter does not claim | the case holds it to |"
    yield "| --- | --- |"
    needs: dict[str, Need] = {
        case.need.name: case.need for case in CASES.values() if case.need is not None
    }
    for need in needs.values():
        yield f"| {need.name} | {need.instead} |"


def written(page: str) -> str:
    """The page with the table as it has to be. Raises ValueError where a mark is missing."""
    before, mark, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"{PAGE.name} needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
