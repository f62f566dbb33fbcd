"""`portcullis signal replay`: past signals under another configuration, as a table of what would differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ops.cli.api import names
from ops.cli.api.connection import asked, connection_options, where
from ops.cli.api.preview import order_text, proposed, proposed_option, strategy_option
from ops.cli.output import json_option, print_json, print_table


@click.command("replay")
@strategy_option
@click.argument("signal_ids", metavar="[SIGNAL]...", nargs=-1)
@click.option("--since", help="Received at this time or later (RFC 3339).")
@click.option("--until", help="Received before this time (RFC 3339).")
@proposed_option
@json_option
@connection_options
@click.pass_obj
def replay(
    settings: Path, strategy_id: str, signal_ids: tuple[str, ...], since: str | None,
    until: str | None, changes: Path | None, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """See what past signals would have done as things stand today, or as they might be set up.

    \b
    Examples:
      portcullis signal replay -s trend --since 2026-11-01T00:00:00Z
      portcullis signal replay -s trend --since 2026-11-01T00:00:00Z --proposed new.json
    """
    body: dict[str, Any] = dict(proposed(changes))
    body |= {n: v for n, v in (("since", since), ("until", until)) if v is not None}
    if signal_ids:
        body["signal_ids"] = list(signal_ids)

    async def ask(api: Any) -> Any:
        identity = await names.identify(api, "strategy_id", strategy_id)
        return (await api.ask("POST", f"/v1/strategies/{identity}/replay", body)).content

    seen = asked(where(settings, given), ask)
    if as_json:
        print_json(seen)
    else:
        show_replay(seen)


def show_replay(seen: Mapping[str, Any]) -> None:
    """What would differ, account by account; then the sums, and what nobody can know."""
    print_table(
        ("signal", "ticker", "account", "", "was", "would be"),
        [
            (
                signal["signal_id"], signal["ticker"], one["account_id"],
                "?" if one["kind"] == "unknown" else "≠",
                decided_text(one["before"]), decided_text(one["after"]),
            )
            for signal in seen["signals"]
            for one in signal["differences"]
        ],
    )  # fmt: skip
    if seen["not_listed"]:
        click.echo(f"… and {seen['not_listed']} more, which are counted and not listed")
    click.echo(
        f"{seen['replayed']} of {len(seen['signals'])} signals replayed: {seen['same']} decisions the"
        f" same, {seen['different']} different, {seen['unknown']} unknown"
    )
    for one in seen["lots"]:
        click.echo(
            f"  {one['broker']} {one['symbol']}: bought {one['buy_before']}, would have {one['buy_after']};"
            f" sold {one['sell_before']}, would have {one['sell_after']} (lots)"
        )
    click.echo("Not known, and not made up:")
    for sentence in seen["not_known"]:
        click.echo(f"  {sentence}")


def decided_text(decided: Mapping[str, Any] | None) -> str:
    """One decision in words."""
    if decided is None:
        return "not in the plan"
    orders = [order_text({"reduce_only": False, **o}, decided["symbol"]) for o in decided["orders"]]
    return " then ".join(orders) or decided["reason"]
