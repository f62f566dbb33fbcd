"""`portcullis channel address`: where a Slack-style channel writes. It is a secret, so it is no argument."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ops.api_client import Api, Reply
from ops.cli.api import names
from ops.cli.api.completion import completes
from ops.cli.api.connection import asked, connection_options, where
from ops.cli.api.credentials import read_secret
from ops.cli.api.show import show_reply
from ops.cli.output import json_option


@click.command("address")
@click.argument("channel", shell_complete=completes("channel_id"))
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the address; else it is asked for.",
)
@click.option(
    "--secret-fd",
    type=click.IntRange(min=0),
    help="An open file descriptor to read the address from.",
)
@json_option
@connection_options
@click.pass_obj
def address(
    settings: Path, channel: str, secret_file: Path | None, secret_fd: int | None, as_json: bool,
    **given: Any,
) -> None:  # fmt: skip
    """Set the incoming webhook's address of a channel of kind slack. It is sealed, and never shown again.

    The one before ends at once.

    Needs channels:write.

    \b
    Example:
      portcullis channel address desk --secret-file desk.url
    """
    url = read_secret(secret_file, secret_fd, "The address").decode()

    async def put(api: Api) -> Reply:
        channel_id = await names.identify(api, "channel_id", channel)
        return await api.ask("PUT", f"/v1/channels/{channel_id}/address", {"url": url})

    show_reply(asked(where(settings, given), put), as_json=as_json)
