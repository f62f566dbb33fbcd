"""`portcullis witness`: a witness of one's own: for a tenant, a second site, an auditor.

Needs neither our database nor our HSM nor our settings file: one directory with a key and an SQLite file.
"""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import click

from audit.malformed import Malformed
from audit.note import parse_keys
from audit.witness.memory import Memory
from audit.witness.server import Server
from audit.witness.witness import MEMORY, create, load
from ops.cli.output import json_option, print_json, print_table

directory_option = click.option(
    "--dir", "directory", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="Where the witness keeps its key and its memory.",
)  # fmt: skip


@click.group()
def witness() -> None:
    """Run a witness: it signs that a log only ever grew."""


@witness.command()
@directory_option
@click.option("--name", required=True, help="Its key's name: a URL without scheme, as you like it.")
def init(directory: Path, name: str) -> None:
    """Make a witness, once, and print its verifier key for policies."""
    try:
        key = create(directory, name)
    except FileExistsError:
        raise click.ClickException(
            f"{directory} holds a witness already; a key is never made over another"
        ) from None
    except Malformed as error:
        raise click.ClickException(str(error)) from None
    click.echo(str(key.public))


@witness.command()
@directory_option
@click.argument("vkey_file", type=click.File("r"))
@click.option("--origin", help="The log's origin, where it is not its key's name.")
def add(directory: Path, vkey_file: click.File, origin: str | None) -> None:
    """Trust the keys in VKEY_FILE, one per line: a log's file `vkey` (- for standard input)."""
    try:
        keys = parse_keys(vkey_file.read())  # type: ignore[attr-defined]
        for key in keys:
            Memory(directory / MEMORY).add(origin or key.name, key)
    except (Malformed, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{origin or keys[0].name}: {len(keys)} key{'s' if len(keys) > 1 else ''} trusted")


@witness.command("list")
@directory_option
@json_option
def list_logs(directory: Path, as_json: bool) -> None:
    """The logs that it knows, and how far it has cosigned each."""
    try:
        known = Memory(directory / MEMORY).logs()
    except FileNotFoundError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        print_json(
            [
                {"origin": one.origin, "keys": one.keys, "size": one.size, "time": one.time}
                for one in known
            ]
        )
        return
    print_table(
        ("log", "keys", "size", "last cosigned"),
        [(one.origin, len(one.keys), one.size, one.time and _utc(one.time)) for one in known],
    )


@witness.command()
@directory_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8470, show_default=True, type=click.IntRange(0, 65535))
def run(directory: Path, host: str, port: int) -> None:
    """Answer logs on http://HOST:PORT until SIGTERM. Put a proxy before it for TLS."""
    try:
        one = load(directory, time.time)
    except (OSError, Malformed) as error:
        raise click.ClickException(str(error)) from None
    server = Server(one, (host, port))
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    serving = threading.Thread(target=server.serve_forever, name="witness")
    serving.start()
    click.echo(f"{one.key.name} answers on http://{host}:{server.server_address[1]}")
    stop.wait()
    server.shutdown()
    serving.join()
    server.server_close()


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
