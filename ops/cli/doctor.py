"""`portcullis doctor`: everything an operator would check, and what to do about what is not well."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from ops.cli.output import json_option, print_json
from ops.doctor.examination import examined, ground_of
from ops.doctor.finding import exit_status
from ops.doctor.report import WIDTH, document, summary, table
from ops.settings import read_settings


@click.command()
@click.option("--brief", is_flag=True, help="Leave out what is well.")
@json_option
@click.pass_obj
def doctor(file: Path, brief: bool, as_json: bool) -> None:
    """Check everything an operator would, and say what to do.

    It works whether the product is up, half down or down, changes nothing, takes seconds at most, and
    shows no secret. Run it as the user that runs the product, or as root: others see less.

    Exit status: 0 all is well (there may be warnings), 1 something is wrong, 2 nothing is wrong and
    something could not be looked at.
    """
    began = datetime.now(UTC)
    findings = asyncio.run(examined(ground_of(read_settings(file), file)))
    if as_json:
        print_json(document(findings, began))
    else:
        console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
        console.print(table(findings, brief=brief), summary(findings))
    sys.exit(exit_status(findings))
