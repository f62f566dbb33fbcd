"""`portcullis`: what an operator types. One file per command group; this one is the root.

An error says what happened, what it means and what to do next. Exit status 0: done; 1: it did not
work, or the API refused it; 2: it was asked wrongly (a setting, an argument); 3: nobody answers.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from hsm.hardening import harden
from ops.api_client import Refused, Unreachable
from ops.cli.index import ABOUT, API, COMMANDS
from ops.cli.output import fail, refuse
from tenancy.errors import ConfigurationError, PortcullisError


class Root(click.Group):
    """Loads a command's file when it is used: `--help` and Tab stay quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(ABOUT)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in API:
            from ops.cli.api.groups import group  # it imports the API: not for `--version`

            return group(cmd_name)
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, name = target.split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(ABOUT.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [
            CompletionItem(name, help=text)
            for name, text in ABOUT.items()
            if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            fail(error, 2)
        except Unreachable as error:
            fail(error, 3)
        except Refused as error:
            refuse(error)
        except PortcullisError as error:
            fail(error, 1)


def default_settings() -> Path:
    """PORTCULLIS_SETTINGS, else var/portcullis.toml of the directory that one stands in."""
    return Path(os.environ.get("PORTCULLIS_SETTINGS", "var/portcullis.toml"))


@click.group(
    cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="portcullis", prog_name="portcullis")
@click.option(
    "--settings",
    type=click.Path(path_type=Path, dir_okay=False),
    default=default_settings,
    show_default="$PORTCULLIS_SETTINGS, else var/portcullis.toml",
    help="The settings file.",
)
@click.pass_context
def cli(ctx: click.Context, settings: Path) -> None:
    """Portcullis: one signed webhook becomes orders at many accounts, each exactly once.

    \b
    First steps:  portcullis init     make keys, database and settings, once
                  portcullis up       start everything and wait until it is ready
                  portcullis status   what runs, and is it well
                  portcullis down     stop everything

    \b
    Set up:       portcullis tenant create "My Fund"
                  portcullis apply -f tenant.toml
                  portcullis hook create-secret main --out main.secret
    """
    ctx.obj = settings.absolute()


def main() -> None:
    """The console script."""
    if not __debug__:
        click.echo("portcullis refuses to run under -O: its assertions are part of it", err=True)
        sys.exit(2)
    harden()  # an API secret may be typed here
    # Each attempt of a pool's is a warning of its own: an operator gets the one sentence at the end.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    cli(prog_name="portcullis")  # however it was started, python -m included


if __name__ == "__main__":
    main()
