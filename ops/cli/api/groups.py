"""`portcullis strategy|account|…`: a group for each kind of object, with every command the API gives it.

To the commands made from operations come a few that do more than one request (EXTRA): they have
the name that they replace, where they replace one.
"""

from __future__ import annotations

import importlib

import click

from ops.cli.api.build import group_commands

ABOUT = {
    "tenant": "Customers of this installation, and one's own house: its settings and its limits.",
    "user": "People: who they are and what they may do. They are invited, and sign in at the console.",
    "key": "Service keys of this API: shown once, scoped, expiring, revocable.",
    "strategy": "Strategies: what sends signals, and what it sets for all its accounts.",
    "hook": "Hooks: the addresses to which signals are sent, and their secrets.",
    "account": "Client accounts at brokers.",
    "credential": "API keys of accounts: sealed on the way in, never readable again.",
    "group": "Groups of accounts: settings and limits for many accounts at once.",
    "subscription": "Which account follows which strategy, and how it is sized.",
    "limit": "Limits, and which of them holds: the tightest of platform, tenant, strategy, group, account.",
    "halt": "The kill switch: stop, or only reduce, an account, a group, a strategy, or everything.",
    "signal": "Signals: what came, what was decided for each account, and what became of it.",
    "order": "Orders: every attempt, and what the broker said of it.",
    "position": "Positions, as the fills add up to them.",
    "approval": "Signals that wait for a person's yes.",
    "proposal": "Changes that wait for a second person.",
    "channel": "Notifications: signed webhooks and e-mail.",
    "access": "Operators who ask to look into a tenant, and are let in for a time.",
    "event": "What happens, as it happens.",
    "subject": "Data subjects: export and correction of a person's data.",
}  # fmt: skip

EXTRA = {
    "tenant": ("ops.cli.api.tenants:create",),
    "hook": ("ops.cli.api.sending:send",),
    "credential": ("ops.cli.api.credentials:enrol",),
    "key": ("ops.cli.api.scopes:scopes",),
    "halt": ("ops.cli.api.switches:on", "ops.cli.api.switches:release"),
    "limit": ("ops.cli.api.switches:set_limit",),
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
