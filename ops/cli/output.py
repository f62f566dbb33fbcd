"""How commands speak: a table for people, JSON for programs, one way to fail."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gateway.problems import PROBLEMS
from ops.api_client import Refused
from tenancy.errors import PortcullisError, Retry

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

NEXT = {
    Retry.NEVER: "Nothing was changed beyond what is said above.",
    Retry.SAFELY: "Trying again is safe.",
    Retry.AFTER_RECONCILING: "It may have happened: look at the present state before trying again.",
}


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=str)).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """A table as wide as the terminal; without one, as wide as it needs to be."""
    table = Table(*columns, title=title or None, title_justify="left")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def fail(error: PortcullisError, status: int) -> NoReturn:
    """Say what happened and what may be done, and end."""
    click.echo(f"portcullis: {error}\n({error.code}) {NEXT[error.retry]}", err=True)
    sys.exit(status)


def refuse(error: Refused) -> NoReturn:
    """Say what the API refused, and what may be done about it."""
    problem = error.problem
    remedy = PROBLEMS[problem.code].remedy if problem.code in PROBLEMS else ""
    trace = f" Trace {problem.trace_id}." if problem.status >= 500 and problem.trace_id else ""
    click.echo(f"portcullis: {error}\n({problem.code}) {remedy}{trace}".rstrip(), err=True)
    sys.exit(1)
