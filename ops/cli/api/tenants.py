"""`portcullis tenant create`: keys by ceremony on this host, then the tenant by the API, its key into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ops.cli.api.connection import asked, connection_options, key_path, where
from ops.cli.hsm_people import people
from ops.cli.output import json_option, print_json, print_table
from ops.platform import keep_key
from ops.settings import read_settings
from ops.tenants import new_tenant
from tenancy.errors import ConfigurationError


@click.command()
@click.argument("name")
@click.option(
    "--key-hours",
    type=click.IntRange(1, 8760),
    default=24,
    show_default=True,
    help="How long its first key is good for: until its own people are in.",
)
@click.option("--reason", default="", help="Why; kept with the change.")
@json_option
@connection_options
@click.pass_obj
def create(file: Path, name: str, key_hours: int, reason: str, as_json: bool, **given: Any) -> None:
    """Make a customer: its keys in the HSM, its audit log, and its first service key. On the host.

    The key is written to var/secrets/keys/NAME.key (0600) and shown nowhere; the other commands find
    it there.

    \b
    Example:
      portcullis tenant create "My Fund"
    """
    settings = read_settings(file)
    path = key_path(file, name)
    if path.exists():
        raise ConfigurationError(f"{path} exists: it is another tenant's key; choose another name")
    place = where(file, given, platform=True)
    with people(settings):
        made = asked(
            place, lambda api: new_tenant(api, settings, name, why=reason, key_hours=key_hours)
        )
    keep_key(path, made.service_key)
    if as_json:
        print_json({"tenant_id": made.tenant_id, "name": name, "key_file": path})
    else:
        print_table(
            ("made", "is"),
            [
                ("tenant", made.tenant_id),
                ("its first key", f"in {path} (0600), good for {key_hours} h"),
            ],
        )
