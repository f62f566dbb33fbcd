"""`portcullis strategy|account|…`: a group for each kind of object, with every command the API gives it.

To the commands made from operations come a few that do more than one request (EXTRA): they have
the name that they replace, where they replace one.
"""

from __future__ import annotations

import importlib

import click

from ops.cli.api.build import group_commands
from ops.cli.index import ABOUT

EXTRA = {
    "tenant": ("ops.cli.api.tenants:create",),
    "user": ("ops.cli.recover:recover",),
    "hook": ("ops.cli.api.sending:send",),
    "signal": ("ops.cli.api.preview:preview", "ops.cli.api.replay:replay"),
    "credential": ("ops.cli.api.credentials:enrol",),
    "channel": ("ops.cli.api.channels:address",),
    "key": ("ops.cli.api.scopes:scopes",),
    "halt": ("ops.cli.api.switches:on", "ops.cli.api.switches:release"),
    "limit": ("ops.cli.api.switches:set_limit",),
    "deadletter": ("ops.cli.api.dead_letters:preview",),
}
"""Group → further commands."""


def group(name: str) -> click.Group | None:
    """The group, or None where this version has nothing for it."""
    made = click.Group(name, help=ABOUT[name])
    for command in group_commands(name):
        made.add_command(command)
    for target in EXTRA.get(name, ()):
        module, attribute = target.split(":")
        made.add_command(getattr(importlib.import_module(module), attribute))
    return made if made.commands else None
