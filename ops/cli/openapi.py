"""`portcullis openapi`: print the API's description, as /v1/openapi.json gives it."""

from __future__ import annotations

from typing import BinaryIO

import click

from gateway.admin.openapi import text_of
from gateway.admin.operations import OPERATIONS


@click.command()
@click.option("--out", type=click.File("wb"), default="-", help="Where to write; standard output.")
def openapi(out: BinaryIO) -> None:
    """Print the admin API's OpenAPI 3.1 document. Needs nothing that runs."""
    out.write(text_of(OPERATIONS))
