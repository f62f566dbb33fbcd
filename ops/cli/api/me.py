"""`portcullis me`: a person at a terminal: take up an invitation, sign in, enrol a second factor, sign out.

What only a person may do (agree to a proposal, say yes to a signal) needs a session, not a key. The
session's token is in one file of mode 0600 and goes with `--me` on any command; it ends by itself
after the tenant's idle time. Passwords and codes are asked for, never taken as arguments.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import msgspec

from ops.api_client import Api, Refused
from ops.cli.api.connection import (
    Where,
    asked,
    connection_options,
    session_path,
    where,
)
from ops.cli.output import json_option, print_json, print_table
from ops.tls import write_private
from tenancy.errors import Invalid

PASSWORD_MIN = 12
_INVITATION = re.compile(r"pci_[0-9A-Za-z_-]{43}")


@click.group()
def me() -> None:
    """Yourself, as a person: join, sign in, second factor, sign out."""


@me.command()
@connection_options
@click.pass_obj
def join(settings: Path, **given: Any) -> None:
    """Take up an invitation: set your password. The link (or its token) is asked for."""
    link = click.prompt("The invitation's link", hide_input=True)
    found = _INVITATION.search(link)
    if found is None:
        raise Invalid(
            "that holds no invitation: pci_ and 43 characters, alone or at the end of a link"
        )
    password = click.prompt(
        f"A password of at least {PASSWORD_MIN} characters", hide_input=True,
        confirmation_prompt="Again",
    )  # fmt: skip
    body = {"invitation": found[0], "password": password}
    taken = asked(_nobody(settings, given), lambda api: api.make("/v1/invitations", body))
    click.echo(f"done. Sign in: portcullis me login {taken['email']} --tenant '{taken['tenant']}'")


@me.command()
@click.argument("email")
@click.option("--tenant", required=True, help="The tenant's name.")
@connection_options
@click.pass_obj
def login(settings: Path, email: str, tenant: str, **given: Any) -> None:
    """Sign in; the password, and a code where you have a second factor, are asked for."""
    body = {
        "tenant": tenant, "email": email, "transport": "bearer",
        "password": click.prompt("Password", hide_input=True),
    }  # fmt: skip
    signed = asked(_nobody(settings, given), lambda api: _signed_in(api, body))
    path = session_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    write_private(path, f"{signed['token']}\n".encode())
    click.echo(
        f"signed in until {signed['expires_at']} at the latest; add --me to a command to act as you"
    )


async def _signed_in(api: Api, body: dict[str, Any]) -> Any:
    try:
        return await api.make("/v1/sessions", body)
    except Refused as refused:
        if refused.code != "second_factor_required":
            raise
    code = click.prompt("Code of your app, or a recovery code", hide_input=True)
    return await api.make("/v1/sessions", {**body, "code": code.strip()})


@me.command()
@connection_options
@click.pass_obj
def logout(settings: Path, **given: Any) -> None:
    """Sign out: the session ends at the server, and its file is removed."""

    async def end(api: Api) -> None:
        await api.ask("DELETE", "/v1/sessions/current")

    try:
        asked(_self(settings, given), end)
    except Refused as refused:
        if refused.code not in ("session_over", "bad_key"):
            raise
    session_path().unlink(missing_ok=True)
    click.echo("signed out")


@me.command()
@json_option
@connection_options
@click.pass_obj
def show(settings: Path, as_json: bool, **given: Any) -> None:
    """Who you are here, and what you may do."""
    found = asked(_self(settings, given), lambda api: api.get("/v1/me"))
    if as_json:
        print_json(found)
    else:
        print_table(("member", "is"), [(name, _cell(value)) for name, value in found.items()])


@me.command("second-factor")
@click.option("--label", default="phone", show_default=True, help="What you call the app.")
@connection_options
@click.pass_obj
def second_factor(settings: Path, label: str, **given: Any) -> None:
    """Enrol an authenticator app (TOTP), and get recovery codes to write down."""

    async def enrol(api: Api) -> list[str]:
        begun = await api.make("/v1/me/factors/totp", {"label": label})
        click.echo("Add this to your app (it is shown once; clear the screen afterwards):")
        click.echo(f"  {begun['secret']}\n  {begun['uri']}")
        code = click.prompt("The code that the app shows now", hide_input=True)
        await api.make(f"/v1/me/factors/{begun['factor_id']}/confirm", {"code": code.strip()})
        codes: list[str] = (await api.make("/v1/me/recovery-codes"))["codes"]
        return codes

    codes = asked(_self(settings, given), enrol)
    click.echo("enrolled. Recovery codes, each good once, shown once:")
    for code in codes:
        click.echo(f"  {code}")


def _nobody(settings: Path, given: dict[str, Any]) -> Where:
    return msgspec.structs.replace(where(settings, given), me=False, nobody=True)


def _self(settings: Path, given: dict[str, Any]) -> Where:
    if not session_path().exists():
        raise Invalid("nobody is signed in here: portcullis me login EMAIL --tenant NAME")
    return msgspec.structs.replace(where(settings, given), me=True)


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
