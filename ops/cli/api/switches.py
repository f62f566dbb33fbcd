"""`portcullis halt on|release` and `portcullis limit set`: on a layer, which is named in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ops.api_client import Api, Reply
from ops.cli.api import names
from ops.cli.api.connection import asked, connection_options, where
from ops.cli.api.fields import Amount
from ops.cli.api.show import show_reply
from ops.cli.output import json_option
from tenancy.errors import Invalid
from tenancy.limits import NUMBERS

ADDRESS = {
    "strategy": "/v1/strategies", "group": "/v1/groups", "account": "/v1/accounts",
    "tenant": "/v1/tenant", "platform": "/v1/tenant",
}  # fmt: skip
layer_argument = click.argument("layer", type=click.Choice(list(ADDRESS)))
halted_argument = click.argument("layer", type=click.Choice([*ADDRESS, "instrument"]))
name_argument = click.argument("name", required=False)
reason_needed = click.option("--reason", prompt="Why", help="Why; kept with the change.")
reason_option = click.option("--reason", default="", help="Why; kept with the change.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


async def layer_id(api: Api, layer: str, name: str | None) -> str | None:
    """The id of the object of that layer; None for the tenant and the platform, which are one each."""
    if layer in ("tenant", "platform"):
        if name:
            raise Invalid(f"{layer}: there is one, the key's own; leave {name!r} away")
        return None
    if not name:
        raise Invalid(f"{layer}: say which, by name or id")
    return await names.identify(api, f"{layer}_id", name)


LEVELS = {
    "no_open": "only what makes a position smaller",
    "block_all": "nothing trades, closing neither",
    "cancel_open": "as no_open, and open orders are cancelled",
    "flatten": "as cancel_open, and every position is closed at market",
}


@click.command("on")
@halted_argument
@name_argument
@click.option(
    "--level",
    type=click.Choice(list(LEVELS)),
    default="block_all",
    show_default=True,
    help="; ".join(f"{level}: {words}" for level, words in LEVELS.items()) + ".",
)
@click.option("--flatten", "level", flag_value="flatten", help="The same as --level flatten.")
@reason_needed
@json_option
@connection_options
@click.pass_obj
def on(
    file: Path, layer: str, name: str | None, level: str, reason: str, as_json: bool, **given: Any
) -> None:  # fmt: skip
    """Stop an account, a group, a strategy, an instrument or the whole tenant. At once, and unasked.

    An instrument is named by broker and symbol: gateio:BTC_USDT. What was stopped:
    `portcullis halt show-intervention ID`, with the id of the answer.

    \b
    Examples:
      portcullis halt on strategy trend --reason 'signals look wrong'
      portcullis halt on instrument gateio:BTC_USDT --level no_open --reason 'no prices'
      portcullis halt on tenant --flatten --reason 'closing everything'
    """
    body = {"scope": layer, "level": level, "reason": reason}
    reply = asked(where(file, given, platform=layer == "platform"),
                  lambda api: _switch(api, "/v1/halts", layer, name, body))  # fmt: skip
    show_reply(reply, as_json=as_json)


@click.command()
@halted_argument
@name_argument
@click.option(
    "--state", type=click.Choice(["active", "reducing"]), default="active", show_default=True
)
@reason_needed
@yes_option
@json_option
@connection_options
@click.pass_obj
def release(
    file: Path, layer: str, name: str | None, state: str, reason: str, yes: bool, as_json: bool,
    **given: Any,
) -> None:  # fmt: skip
    """Let it trade again."""
    if not yes:
        click.confirm(f"{layer} {name or ''}".strip() + " trades again: really?", abort=True)
    body = {"scope": layer, "state": state, "reason": reason}
    reply = asked(where(file, given, platform=layer == "platform"),
                  lambda api: _switch(api, "/v1/halts/release", layer, name, body))  # fmt: skip
    show_reply(reply, as_json=as_json)


async def _switch(
    api: Api, address: str, layer: str, name: str | None, body: dict[str, Any]
) -> Reply:
    if layer == "instrument":
        return await api.ask("POST", address, {**body, **instrument(name)})
    object_id = await layer_id(api, layer, name)
    full = body if object_id is None else {**body, "object_id": object_id}
    return await api.ask("POST", address, full)


def instrument(name: str | None) -> dict[str, str]:
    """Broker and symbol of `gateio:BTC_USDT`. Raises Invalid."""
    broker, colon, symbol = (name or "").partition(":")
    if not broker or not colon or not symbol:
        raise Invalid("instrument: say which, as broker:symbol, like gateio:BTC_USDT")
    return {"broker": broker, "symbol": symbol}


def _limit_options(command: Any) -> Any:
    for number in reversed(NUMBERS):
        command = click.option(f"--{number.replace('_', '-')}", number, type=Amount())(command)
    return command


@click.command("set")
@layer_argument
@name_argument
@_limit_options
@click.option(
    "--over-limit",
    type=click.Choice(["cut", "skip"]),
    help="What is over a limit: cut to it, or skipped.",
)
@click.option("--unset", multiple=True, help="Take a limit away. May be repeated.")
@click.option("--force", is_flag=True, help="Whatever somebody else changed meanwhile.")
@reason_option
@json_option
@connection_options
@click.pass_obj
def set_limit(
    file: Path, layer: str, name: str | None, unset: tuple[str, ...], force: bool, reason: str,
    as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Set limits of a layer: of all layers, the tightest holds.

    \b
    Examples:
      portcullis limit set strategy trend --max-order-quantity 10 --reason 'as agreed'
      portcullis limit set account 'Client 1' --unset max-order-notional
    """
    place = where(file, given, platform=layer == "platform")
    limits = {member: value for member, value in given.items() if value is not None}
    for one in unset:
        member = one.replace("-", "_")
        if member not in (*NUMBERS, "over_limit"):
            raise Invalid(
                f"--unset {one}: no such limit; there is {', '.join(NUMBERS)}, over_limit"
            )
        limits[member] = None
    if not limits:
        raise click.UsageError("say which limit: --max-order-quantity 10, or --unset …")
    reply = asked(place, lambda api: _set(api, layer, name, limits, force, reason))
    show_reply(reply, as_json=as_json)


async def _set(
    api: Api, layer: str, name: str | None, limits: dict[str, Any], force: bool, why: str
) -> Reply:
    object_id = await layer_id(api, layer, name)
    address = ADDRESS[layer] + (f"/{object_id}" if object_id else "")
    etag = "*" if force else (await api.ask("GET", address)).etag
    return await api.change(address, {"limits": limits}, if_match=etag, why=why)
