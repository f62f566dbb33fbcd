"""`portcullis hsm`: the ceremony. The only commands that read both tokens' PINs."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from hsm import ceremony
from hsm.client import EnrollerClient, SignerClient
from ops.ceremonies import token_settings
from ops.cli.output import json_option, print_json, print_table
from ops.settings import Settings, read_settings


@click.group()
def hsm() -> None:
    """Tokens and keys."""


@hsm.command()
@click.pass_obj
def init(file: Path) -> None:
    """Make both tokens and the enrolment key. Refuses where a token exists."""
    ceremony.init_tokens(token_settings(read_settings(file)))
    click.echo("made: enrol token, sign token, enrolment key")


@hsm.command()
@json_option
@click.pass_obj
def check(file: Path, as_json: bool) -> None:
    """Look at every key's attributes. Exit status 1 where one is not as it must be."""
    findings = ceremony.check(token_settings(read_settings(file)))
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(ceremony.Finding._fields, findings)
        click.echo("all keys are as they must be" if not findings else "see the findings above")
    sys.exit(1 if findings else 0)


@hsm.command()
@json_option
@click.pass_obj
def status(file: Path, as_json: bool) -> None:
    """Ask the running signer and enroller how they are."""
    answer = asyncio.run(_ask(read_settings(file)))
    if as_json:
        print_json(answer)
        return
    for daemon, figures in answer.items():
        print_table(("figure", "value"), list(figures.items()), title=daemon)


async def _ask(settings: Settings) -> dict[str, dict[str, object]]:
    async with SignerClient(settings.hsm.signer_socket) as signer:
        signing = await signer.status()
    async with EnrollerClient(settings.hsm.enroller_socket) as enroller:
        return {"signer": signing, "enroller": await enroller.status()}
