"""What the shell may propose: names of objects, asked of the API where that is quick, else nothing.

`portcullis completion bash|zsh|fish` prints the script; the shell then runs `portcullis` itself at
each Tab. Whatever goes wrong there (nothing runs, no key) proposes nothing and says nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class

from ops.cli.api.connection import asked, where

PATIENCE_S = 1.0
SHELLS = ("bash", "zsh", "fish")

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def completes(id_name: str) -> Completer:
    """Completes names of the objects that `id_name` identifies."""

    def propose(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
        from ops.cli.api import names  # the whole API: only Tab needs it

        settings = context.find_root().params.get("settings")
        place = where(Path(settings or "var/portcullis.toml").absolute(), dict(context.params))

        async def ask(api: Any) -> list[str]:
            async with asyncio.timeout(PATIENCE_S):
                return await names.names(api, id_name, begun)

        try:
            return asked(place, ask)
        except Exception:  # a shell's Tab has nowhere to say it
            return []

    return propose


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes commands, options and names of objects.

    \b
    bash:  portcullis completion bash > ~/.local/share/bash-completion/completions/portcullis
    zsh:   portcullis completion zsh > ~/.zfunc/_portcullis
    fish:  portcullis completion fish > ~/.config/fish/completions/portcullis.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the three"
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "portcullis", "_PORTCULLIS_COMPLETE").source())
