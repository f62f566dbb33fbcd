"""`portcullis key scopes`: what a service key may be given."""

from __future__ import annotations

import click

from ops.cli.output import json_option, print_json, print_table
from tenancy.roles import ROLES, scopes_of


@click.command()
@click.option("--platform", is_flag=True, help="Of the platform's own keys.")
@json_option
def scopes(platform: bool, as_json: bool) -> None:
    """Every scope that a service key may have, and the roles whose people may do the same."""
    found = sorted(scopes_of("platform" if platform else "customer"))
    roles = {scope: [role for role, may in ROLES.items() if scope in may] for scope in found}
    if as_json:
        print_json(roles)
    else:
        print_table(("scope", "roles"), [(scope, ", ".join(roles[scope])) for scope in found])
