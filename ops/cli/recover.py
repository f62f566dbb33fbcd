"""`portcullis user recover`: for the last administrator, who lost password and second factor. On the host."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from ops import control
from ops.audit_keys import audit_keys
from ops.cli.output import json_option, print_json
from ops.people import Invitation, reset_person
from ops.settings import Settings, read_settings
from ops.tenants import operator_scope
from tenancy.clock import SystemClock
from tenancy.database import Database
from tenancy.errors import NotFound
from tenancy.store.sign_in import find_tenant


@click.command(short_help="Let somebody in again who lost everything. On the host.")
@click.argument("email")
@click.option("--tenant", required=True, help="The tenant's name; Platform for operators.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def recover(file: Path, email: str, tenant: str, yes: bool, as_json: bool) -> None:
    """Take away password and second factors, end all sessions, and invite anew. On the host.

    For when nobody is left who could do it: `user invite` and `user reset-factors` are the way as
    long as another administrator is there. It needs no key, asks no second person, and is on record
    in the tenant's audit log. The link is shown this once.

    \b
    Example:
      portcullis user recover ada@example.com --tenant "My Fund"
    """
    settings = read_settings(file)
    if not yes:
        question = f"{email} of {tenant} loses password, second factors and sessions: really?"
        click.confirm(question, abort=True, err=True)
    made = asyncio.run(_recover(settings, tenant, email))
    if as_json:
        print_json(made)
        return
    click.echo(
        f"password, second factors and sessions are gone. Until {made.expires_at:%Y-%m-%d %H:%M} UTC"
        f" this link sets a new password, once (or: portcullis me join):\n{made.url}"
    )


async def _recover(settings: Settings, tenant: str, email: str) -> Invitation:
    control.check_runs(settings)
    database = Database(settings.database.admin, name="portcullis-recover", size=1)
    await database.open()
    try:
        found = await find_tenant(database, tenant)
        if found is None:
            raise NotFound(
                f"there is no tenant called {tenant!r}; `portcullis tenant list` shows all"
            )
        async with audit_keys(settings, settings.database.admin, "portcullis-recover"):
            return await reset_person(
                database, operator_scope(found[0].tenant_id), email,
                base_url=settings.admin.base_url, clock=SystemClock(),
            )  # fmt: skip
    finally:
        await database.close()
