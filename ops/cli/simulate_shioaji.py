"""`portcullis simulate shioaji`: a scripted SinoPac at a Unix socket, for sessions whose `sdk` setting names it.

A program of its own (loadtest/exchanges/shioaji), started as a child; it ends with this command.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from ops.processes import ROOT
from ops.stack.child import dying_with_parent


@click.command()
@click.option("--socket", type=click.Path(path_type=Path), required=True, help="Where it listens.")
@click.option("--seed", type=int, help="Draw faults by this number, the same each time.")
@click.option("--rate", type=click.FloatRange(0, 1), default=0.05, show_default=True,
              help="Of the orders that go wrong.")  # fmt: skip
def shioaji(socket: Path, seed: int | None, rate: float) -> None:
    """A scripted SinoPac, until Ctrl-C. Everything is forgotten at its end.

    \b
    Example:  portcullis simulate shioaji --socket /tmp/sinopac.sock
    """
    words = ["-m", "loadtest.exchanges.shioaji", "--socket", str(socket.absolute())]
    if seed is not None:
        words += ["--seed", str(seed), "--rate", str(rate)]
    child = subprocess.Popen(dying_with_parent("TERM", [sys.executable, *words]), cwd=ROOT)
    try:
        child.wait()
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
