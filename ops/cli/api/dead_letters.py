"""`portcullis deadletter preview`: what a replay would send now, as a table, and the line that sends it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ops.cli.api import names
from ops.cli.api.connection import asked, connection_options, where
from ops.cli.api.preview import SIGNS, order_text
from ops.cli.output import json_option, print_json, print_table


@click.command("preview")
@click.argument("signal")
@click.option(
    "--account", "accounts", multiple=True, metavar="NAME|ID",
    help="Only this one; may be repeated. Without it: all that can be replayed.",
)  # fmt: skip
@json_option
@connection_options
@click.pass_obj
def preview(
    settings: Path, signal: str, accounts: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """See what a replay of a dead letter would send now. Nothing is sent.

    Each account is planned afresh, from its position as it is. The preview is good for two minutes,
    once, and for whoever asked.

    Needs orders:replay.

    \b
    Example:
      portcullis deadletter preview SIGNAL --account 'Client 1'
    """

    async def ask(api: Any) -> Any:
        chosen = [await names.identify(api, "account_id", account) for account in accounts]
        body = {"account_ids": chosen} if chosen else {}
        return (await api.ask("POST", f"/v1/dead-letters/{signal}/preview", body)).content

    seen = asked(where(settings, given), ask)
    if as_json:
        print_json(seen)
    else:
        show(signal, seen)


def show(signal: str, seen: Mapping[str, Any]) -> None:
    """Who would trade, who would not and why; then the next step."""
    part = set(seen["account_ids"])
    print_table(
        ("account", "", "orders", "how"),
        [
            (
                entry["name"], SIGNS[entry["decision"]],
                " then ".join(order_text(leg, entry["symbol"]) for leg in entry["legs"]), entry["words"],
            )
            for entry in seen["would"]["entries"]
            if entry["account_id"] in part
        ],
    )  # fmt: skip
    for one in seen["left_out"]:
        click.echo(f"not {one['account_id']}: {one['why_not']}")
    if seen["preview"] is None:
        click.echo("Nothing would be sent.")
    else:
        click.echo(
            f"Until {seen['expires_at']}:\n"
            f"portcullis deadletter replay {signal} --preview {seen['preview']} --reason '…'"
        )
