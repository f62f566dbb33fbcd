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


@click.command("on")
@layer_argument
@name_argument
@click.option(
    "--state",
    type=click.Choice(["halted", "reducing"]),
    default="halted",
    show_default=True,
    help="reducing: only what makes a position smaller.",
)
@reason_needed
@json_option
@connection_options
@click.pass_obj
def on(
    file: Path, layer: str, name: str | None, state: str, reason: str, as_json: bool, **given: Any
) -> None:  # fmt: skip
    """Stop the trading of an account, a group, a strategy or the whole tenant. At once, and unasked.

    \b
    Examples:
      portcullis halt on strategy trend --reason 'signals look wrong'
      portcullis halt on tenant --state reducing --reason 'closing everything'
    """
    body = {"scope": layer, "state": state, "reason": reason}
    reply = asked(where(file, given, platform=layer == "platform"),
                  lambda api: _switch(api, "/v1/halts", layer, name, body))  # fmt: skip
    show_reply(reply, as_json=as_json)


@click.command()
@layer_argument
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
    object_id = await layer_id(api, layer, name)
    full = body if object_id is None else {**body, "object_id": object_id}
    return await api.ask("POST", address, full)


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
