"""`portcullis credential enrol`: an account's API key, encrypted here, sealed in the HSM."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import click

from ops import enrolment
from ops.api_client import Api, Reply
from ops.cli.api import names
from ops.cli.api.completion import completes
from ops.cli.api.connection import asked, connection_options, where
from ops.cli.api.show import show_reply
from ops.cli.output import json_option
from tenancy.values import AccountID


@click.command()
@click.option(
    "--account",
    "account_id",
    metavar="NAME|ID",
    required=True,
    shell_complete=completes("account_id"),
    help="By name or id.",
)
@click.option("--api-key", required=True, help="The public half, as the broker names it.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the secret; else it is asked for.",
)
@click.option("--reason", default="", help="Why; kept with the change.")
@json_option
@connection_options
@click.pass_obj
def enrol(
    settings: Path, account_id: str, api_key: str, secret_file: Path | None, reason: str,
    as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Encrypt the API secret to the enrolment key here, seal it in the HSM, make it the live one.

    The secret leaves this process only as what the HSM alone can open.

    \b
    Example:
      portcullis credential enrol --account 'Client 1' --api-key 3fa1… --secret-file gate.secret
    """
    secret: bytes = (
        secret_file.read_bytes().strip()
        if secret_file
        else click.prompt("The API secret", hide_input=True).encode()
    )
    reply = asked(
        where(settings, given), lambda api: enrolled(api, account_id, api_key, secret, reason)
    )
    show_reply(reply, as_json=as_json)


async def enrolled(api: Api, account: str, api_key: str, secret: bytes, why: str = "") -> Reply:
    """Seal `secret` as the live credential of the account. Raises Refused, Unreachable, NotFound."""
    account_id = await names.identify(api, "account_id", account)
    wanted = enrolment.ApiSecret(AccountID(UUID(account_id)), api_key, secret)
    return await enrolment.enrol(api, wanted, why=why)
