"""`portcullis credential enrol`: an account's API key, encrypted here, sealed in the HSM, proven by its broker.

The secret comes from a prompt, a file or an open file descriptor (`--secret-fd 3 3< <(pass gate)`):
never from an argument or the environment, which other processes can read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import click

from fanout.brokers.sealing import sealing_of
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
@click.option(
    "--secret-fd",
    type=click.IntRange(min=0),
    help="An open file descriptor to read the secret from.",
)
@click.option(
    "--test-order",
    is_flag=True,
    help="Prove it by an order of the smallest size, far from the market, cancelled at once.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=enrolment.WAIT_S,
    show_default=True,
    help="Seconds to wait for the broker's answer; 0: none.",
)
@click.option("--reason", default="", help="Why; kept with the change.")
@json_option
@connection_options
@click.pass_obj
def enrol(
    settings: Path, account_id: str, api_key: str, secret_file: Path | None, secret_fd: int | None,
    test_order: bool, wait_s: float, reason: str, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Encrypt the API secret to the enrolment key here, seal it in the HSM, and have its broker prove it.

    The secret leaves this process only as what the HSM alone can open. The key becomes the account's
    live one when the broker has said that it can trade and can neither withdraw nor transfer; until
    then the one before signs. A key that is not taken ends the command with the broker's words.

    \b
    Example:
      portcullis credential enrol --account 'Client 1' --api-key 3fa1… --secret-file gate.secret
    """
    secret = read_secret(secret_file, secret_fd, "The API secret")
    reply = asked(
        where(settings, given),
        lambda api: enrolled(
            api, account_id, api_key, secret, reason, test_order=test_order, wait_s=wait_s
        ),
    )
    show_reply(reply, as_json=as_json)


def read_secret(file: Path | None, fd: int | None, what: str) -> bytes:
    """From the file, the descriptor, or a prompt that says `what` and shows nothing. Raises UsageError."""
    if file is not None and fd is not None:
        raise click.UsageError("--secret-file or --secret-fd, not both")
    if file is not None:
        return file.read_bytes().strip()
    if fd is not None:
        with open(fd, "rb", closefd=False) as opened:
            return opened.read().strip()
    typed: str = click.prompt(what, hide_input=True)
    return typed.encode()


async def enrolled(
    api: Api,
    account: str,
    api_key: str,
    secret: bytes,
    why: str = "",
    *,
    test_order: bool = False,
    wait_s: float = enrolment.WAIT_S,
) -> Reply:
    """`secret` as the live credential of the account. Raises what enrolment.enrol() does, and NotFound."""
    account_id = AccountID(UUID(await names.identify(api, "account_id", account)))
    broker = (await api.get(f"/v1/accounts/{account_id}"))["broker"]
    wanted = enrolment.ApiSecret(account_id, api_key, secret, sealing_of(broker), test_order)
    return await enrolment.enrol(api, wanted, why=why, wait_s=wait_s)
