"""`portcullis signal preview`: what a signal would do at every account now, as a table."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from ops.cli.api import names
from ops.cli.api.completion import completes
from ops.cli.api.connection import asked, connection_options, where
from ops.cli.output import json_option, print_json, print_table
from tenancy.errors import UNREADABLE, Invalid

SIGNS = {"order": "→", "asked": "?", "nothing": "·"}
strategy_option = click.option(
    "-s", "--strategy", "strategy_id", required=True, metavar="NAME|ID",
    shell_complete=completes("strategy_id"), help="The strategy.",
)  # fmt: skip
proposed_option = click.option(
    "--proposed",
    "changes",
    type=click.Path(path_type=Path, allow_dash=True),
    help="JSON: `settings`, `limits`, `sequence`, `subscriptions` in place of those that are set up.",
)


def read_raw(path: Path) -> msgspec.Raw:
    """A JSON object from a file, as it stands there, to the last digit; `-` is standard input. Raises Invalid."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
        if not isinstance(msgspec.json.decode(text), dict):
            raise Invalid(f"{path}: a JSON object is needed")
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from None
    except UNREADABLE as error:
        raise Invalid(f"{path} is not JSON: {error}") from None
    return msgspec.Raw(text.encode())


def proposed(path: Path | None) -> dict[str, msgspec.Raw]:
    """The members of a file that says what would be set up. Raises Invalid."""
    if path is None:
        return {}
    return msgspec.json.decode(read_raw(path), type=dict[str, msgspec.Raw])


@click.command("preview")
@strategy_option
@click.option(
    "-f", "--file", "source", required=True, help="The signal, as JSON; - is standard input.",
    type=click.Path(path_type=Path, allow_dash=True),
)  # fmt: skip
@proposed_option
@json_option
@connection_options
@click.pass_obj
def preview(
    settings: Path, strategy_id: str, source: Path, changes: Path | None, as_json: bool,
    **given: Any,
) -> None:  # fmt: skip
    """See what a signal would do at every account now. Nothing is written, nothing is sent.

    \b
    Example:
      portcullis signal preview -s trend -f signal.json
    """
    body = proposed(changes) | {"signal": read_raw(source)}

    async def ask(api: Any) -> Any:
        identity = await names.identify(api, "strategy_id", strategy_id)
        return (await api.ask("POST", f"/v1/strategies/{identity}/preview", body)).content

    seen = asked(where(settings, given), ask)
    if as_json:
        print_json(seen)
    else:
        show_preview(seen)


def show_preview(seen: Mapping[str, Any]) -> None:
    """Every account in the order in which they would trade, then what it comes to."""
    print_table(
        ("place", "account", "", "reason", "orders", "how"),
        [
            (
                entry["place"], entry["name"], SIGNS[entry["decision"]], entry["reason"],
                " then ".join(order_text(leg, entry["symbol"]) for leg in entry["legs"]),
                entry["words"],
            )
            for entry in seen["entries"]
        ],
    )  # fmt: skip
    totals = seen["totals"]
    click.echo(
        f"{totals['trading']} of {totals['accounts']} accounts trade"
        + (f", about {totals['asked']} a person is asked" if totals["asked"] else "")
        + (f"; quorum {seen['quorum'].replace('_', ' ')}" if seen["quorum"] else "")
    )
    for because in totals["reasons"]:
        click.echo(f"  {because['accounts']:>6}  {because['reason']}: {because['sentence']}")
    for one in totals["turnover"]:
        click.echo(f"  {one['broker']} {one['symbol']}: {turnover_text(one)}")
    for broker in seen["brokers"]:
        old = "" if broker["fresh"] else ": too old to plan by"
        click.echo(f"prices of {broker['broker']}: {broker['age_ms'] / 1000:.1f} s old{old}")
    if not seen["brokers"]:
        click.echo("no worker has put prices of any broker: does one run?")


def order_text(leg: Mapping[str, Any], symbol: str | None) -> str:
    """One order in words."""
    price = f" at {leg['price']}" if leg["price"] else ""
    only = " (reduce only)" if leg["reduce_only"] else ""
    stop = f" stop {leg['stop_px']}" if leg["stop_px"] else ""
    trail = f" trailing {leg['trail_amount']}" if leg["trail_amount"] else ""
    trail += f" trailing {leg['trail_percent']} %" if leg["trail_percent"] else ""
    kept = "".join(
        f", {name.replace('_', ' ')} {_terms(of)}" for name, of in (leg["protect"] or {}).items()
    )
    return f"{leg['side']} {leg['order_qty']} {symbol or ''} {leg['ord_type']}{price}{stop}{trail}{only}{kept}"


def _terms(of: dict[str, Any]) -> str:
    """A take profit or a stop loss in words: `percent 2`."""
    return " ".join(f"{name.replace('_', ' ')} {value}" for name, value in of.items())


def turnover_text(one: Mapping[str, Any]) -> str:
    """Both sides of one instrument; a side without lots is left out."""
    said = []
    for side in ("buy", "sell"):
        if one[f"{side}_lots"] != "0":
            worth = one[f"{side}_notional"]
            worth = "worth unknown" if worth is None else f"{worth} {one['currency']}"
            said.append(f"{side} {one[f'{side}_lots']} lots ({worth})")
    return ", ".join(said)
