"""The findings as people read them and as programs do: the worst first, and below each what to do."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.doctor.finding import WORST_FIRST, Finding, Level, exit_status

COLOURS: dict[Level, str] = {
    "wrong": "bold red", "unseen": "magenta", "warning": "yellow", "well": "green",
}  # fmt: skip
WIDTH = 120


def table(findings: Sequence[Finding], *, brief: bool = False) -> Table:
    """`brief` leaves out what is well."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for one in findings:
        if one.level == "well" and brief:
            continue
        what = one.subject if one.what == one.subject else f"{one.subject}: {one.what}"
        said = Text.assemble((what, "bold"), f": {one.seen}", f"\n→ {one.then}" if one.then else "")
        grid.add_row(Text(one.level, COLOURS[one.level]), said)
    return grid


def summary(findings: Sequence[Finding]) -> str:
    return ", ".join(f"{count} {level}" for level, count in counts(findings).items() if count)


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    return {level: sum(one.level == level for one in findings) for level in WORST_FIRST}


def document(findings: Sequence[Finding], at: datetime) -> dict[str, Any]:
    """What `--json` prints. `at`: when the examination began, UTC."""
    status = exit_status(findings)
    return {"at": at, "status": status, "counts": counts(findings), "findings": findings}


def plain(findings: Sequence[Finding]) -> str:
    """The same as a text file."""
    page = io.StringIO()
    Console(file=page, width=WIDTH, highlight=False).print(table(findings), summary(findings))
    return page.getvalue()
