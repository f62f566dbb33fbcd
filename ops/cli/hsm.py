"""`portcullis hsm`: ceremonies, their records, and how tokens and daemons are.

The only commands that read both tokens' PINs (ops/cli/hsm_people.py asks for what people know).
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from hsm import ceremony
from hsm.backup import back_up, restore
from hsm.check import Finding, check
from hsm.hardening import harden
from hsm.inventory import token_facts
from hsm.pins import read_pin
from hsm.record import read_records
from ops.ceremonies import recorded, records_of, token_settings
from ops.cli.hsm_conformance import conformance
from ops.cli.hsm_people import (
    hand_out,
    keep,
    new_passphrase,
    passphrase_of,
    said_plainly,
    write_new,
)
from ops.cli.keys import COMMANDS
from ops.cli.output import json_option, print_json, print_table
from ops.settings import Settings, read_settings
from ops.vault import each_daemon
from tenancy.errors import PortcullisError


@click.group()
def hsm() -> None:
    """Tokens and keys."""
    harden()


hsm.add_command(conformance)


for command in COMMANDS:
    hsm.add_command(command)


@hsm.command()
@click.option(
    "--holders", type=int, help="How many people hold a phrase; for PINs that are `held:`."
)
@click.option("--quorum", type=int, help="How many of them a ceremony needs.")
@click.pass_obj
def init(file: Path, holders: int | None, quorum: int | None) -> None:
    """Make all tokens and their enrolment keys. Refuses where a token exists."""
    settings = read_settings(file)
    new = hand_out(settings, holders, quorum)
    with said_plainly(settings, new):
        ceremony.init_tokens(token_settings(settings))
        if new is not None:
            keep(settings, new)
        kept = recorded(settings, "init")
    click.echo("made: enrol token, sign token, enrolment key" + _of_each(settings))
    click.echo(f"record {kept.record.number}: sha256 {kept.sha256}")
    click.echo(f"Keep this on paper, it checks all records: {kept.public_key}")


@hsm.command("check")
@json_option
@click.pass_obj
def check_command(file: Path, as_json: bool) -> None:
    """Look at every key's attributes. Exit status 1 where one is not as it must be."""
    settings = read_settings(file)
    with said_plainly(settings):
        findings = check(token_settings(settings))
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(Finding._fields, findings)
        click.echo("all keys are as they must be" if not findings else "see the findings above")
    sys.exit(1 if findings else 0)


@hsm.command()
@click.option("--keys", is_flag=True, help="Key versions too: this logs in, and needs the PINs.")
@json_option
@click.pass_obj
def status(file: Path, keys: bool, as_json: bool) -> None:
    """How the daemons are, and what the tokens say of themselves."""
    settings = read_settings(file)
    with said_plainly(settings):
        answer: dict[str, Any] = {"tokens": token_facts(token_settings(settings), keys=keys)}
    answer |= asyncio.run(_ask(settings))
    if as_json:
        print_json(answer)
        return
    for token in answer.pop("tokens"):
        print_table(("fact", "value"), _rows(token), title=f"token {token.label}")
    for daemon, figures in answer.items():
        print_table(("figure", "value"), list(figures.items()), title=daemon)


@hsm.command("pin")
@click.argument("token")
@click.argument("out", type=click.Path(path_type=Path))
@click.pass_obj
def pin_command(file: Path, token: str, out: Path) -> None:
    """Write a token's user PIN to a new file, for its daemon's systemd-creds: TOKEN is its label."""
    settings = read_settings(file)
    sources = {
        label: source
        for pair in token_settings(settings).pairs
        for label, source in (
            (pair.enrol_label, pair.enrol_pin_file), (pair.sign_label, pair.sign_pin_file),
        )
    }  # fmt: skip
    if token not in sources:
        raise click.BadParameter(f"the tokens are {', '.join(sources)}", param_hint="TOKEN")
    with said_plainly(settings):
        pin = read_pin(sources[token])
    try:
        write_new(out, f"{pin}\n".encode())
    except FileExistsError:
        raise click.BadParameter(f"{out} exists", param_hint="OUT") from None
    click.echo(f"{out}: give it to systemd-creds encrypt, and remove it")


@hsm.command("backup")
@click.argument("out", type=click.Path(path_type=Path))
@click.pass_obj
def backup_command(file: Path, out: Path) -> None:
    """Copy SoftHSM's tokens into a new file, encrypted to a passphrase. PINs are not in it."""
    settings = read_settings(file)
    with said_plainly(settings):
        passphrase = new_passphrase()
        count = back_up(settings.instance.var / "hsm", out, passphrase)
    click.echo(f"{out}: {count} files. Keep the PINs, or the holders' phrases, in another place.")


@hsm.command("restore")
@click.argument("copy", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.pass_obj
def restore_command(file: Path, copy: Path) -> None:
    """Put a copy's tokens where there are none; then `portcullis hsm check`."""
    settings = read_settings(file)
    with said_plainly(settings):
        count = restore(copy, settings.instance.var / "hsm", passphrase_of(copy))
    click.echo(f"{count} files restored. Next: portcullis hsm check, and hsm record verify --key …")


@hsm.group()
def record() -> None:
    """Records of ceremonies: signed in the token, one after the other."""


@record.command("list")
@json_option
@click.pass_obj
def list_records(file: Path, as_json: bool) -> None:
    """Every ceremony. Exit status 1 where a record does not hold."""
    settings = read_settings(file)
    with said_plainly(settings):
        found = read_records(records_of(settings))
    rows = [
        (one.record.number, one.record.at, one.record.who, one.record.what, one.sha256)
        for one in found
    ]
    names = ("number", "at", "who", "what", "sha256")
    if as_json:
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        print_table(names, rows)


@record.command("show")
@click.argument("number", type=click.IntRange(min=1))
@click.pass_obj
def show_record(file: Path, number: int) -> None:
    """One record, whole, as JSON: every object and every attribute as the token told them."""
    settings = read_settings(file)
    with said_plainly(settings):
        found = read_records(records_of(settings))
    if number > len(found):
        raise click.BadParameter(f"there are {len(found)} records", param_hint="NUMBER")
    print_json(found[number - 1].record)


@record.command("verify")
@click.option("--key", help="The public key that was kept when the tokens were made, hex.")
@click.option(
    "--directory", type=click.Path(path_type=Path, exists=True), help="Elsewhere than here."
)
@click.pass_obj
def verify_records(file: Path, key: str | None, directory: Path | None) -> None:
    """Check numbers, chain and signatures; needs no token. Exit status 1 where one does not hold."""
    settings = read_settings(file)
    with said_plainly(settings):
        found = read_records(directory or records_of(settings), key)
    if not found:
        raise click.ClickException("there is no record")
    click.echo(f"{len(found)} records hold, signed by {found[0].public_key}")
    if key is None:
        click.echo("Compare that key with the one on paper, or give it: --key")


def _of_each(settings: Settings) -> str:
    further = len(settings.hsm.mirrors)
    return f", and the same at {further} further HSM" + "s" * (further > 1) if further else ""


def _rows(token: Any) -> list[tuple[str, Any]]:
    return [
        (name, ", ".join(map(str, value)) if isinstance(value, list) else value)
        for name, value in msgspec.structs.asdict(token).items()
        if value is not None
    ]


async def _ask(settings: Settings) -> dict[str, dict[str, object]]:
    """Each daemon's figures, or why it does not answer."""
    answer: dict[str, dict[str, object]] = {}
    async with each_daemon(settings.hsm) as daemons:
        for name, client in daemons.items():
            try:
                answer[name] = await client.status()
            except PortcullisError as error:
                answer[name] = {"state": error.code, "why": str(error)}
    return answer
