"""`portcullis audit drill`: restore the audit log from one of its further sets, and verify what came back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import click
import psycopg

from audit.drill import describe, drill
from audit.logs import read_logs, read_signed
from audit.worm.port import Store
from audit.worm.posix import PosixStore
from ops.settings import DirectoryStore, RecorderSettings, S3StoreSettings, read_settings
from ops.stores import bucket_of, bucket_stores
from tenancy.clock import SystemClock
from tenancy.database import Database
from tenancy.errors import ConfigurationError, PortcullisError

Stores = dict[str, Callable[[], Store]]


@click.command("drill")
@click.option(
    "--from",
    "source",
    required=True,
    metavar="STORE",
    help="A store's name in [[recorder.stores]], or a directory.",
)
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="An empty directory, or one to be made. It can be looked at afterwards.",
)
@click.option(
    "--trusted",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A directory of trusted verifier keys: files <log id>, as `vkey` is written. Without them "
    "the database's are taken, or else the store's own, which proves only that its files agree with each other.",
)
@click.option("--alone", is_flag=True, help="Ask no database, even where one answers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def audit_drill(
    context: click.Context,
    source: str,
    target: Path,
    trusted: Path | None,
    alone: bool,
    as_json: bool,
) -> None:
    """Restore every log from STORE alone, verify it, compare with what is signed, and say how it went.

    Uses nothing of the first set. Exit status as of `audit verify`: 0 all verified, 2 tampered,
    3 inconsistent, 5 incomplete.
    """
    stores = _stores(source, context)
    keys = {path.name: path.read_text() for path in trusted.iterdir()} if trusted else {}
    signed = None
    if not alone:
        known = asyncio.run(_signed(context.obj))
        if known is not None:
            keys, signed = known[0] | keys, known[1]
    report = drill(source, stores, target, keys, signed)
    click.echo(json.dumps(report.as_json()) if as_json else describe(report))
    context.exit(report.code)


def _stores(source: str, context: click.Context) -> Stores:
    """Each log's store, opened when its turn comes. Raises ConfigurationError."""
    if "/" in source or Path(source).is_dir():
        return _directories(Path(source))
    settings = read_settings(context.obj).recorder
    for one in settings.stores:
        if one.name == source:
            if isinstance(one, DirectoryStore):
                return _directories(one.path)
            return _bucket(settings, one, context)
    names = ", ".join(one.name for one in settings.stores) or "none"
    raise ConfigurationError(f"no store {source!r} in [[recorder.stores]]; there are: {names}")


def _directories(root: Path) -> Stores:
    if not root.is_dir():
        raise ConfigurationError(f"{root} is no directory")

    def opened(path: Path) -> Callable[[], Store]:
        return lambda: PosixStore(path)

    return {path.name: opened(path) for path in root.iterdir() if _is_log(path.name)}


def _bucket(settings: RecorderSettings, one: S3StoreSettings, context: click.Context) -> Stores:
    clock = SystemClock()
    bucket = bucket_of(one, clock)
    context.call_on_close(bucket.close)
    make = bucket_stores(settings, one, bucket, clock)

    def opened(log_id: str) -> Callable[[], Store]:
        def store() -> Store:
            made = make(log_id)
            made.list_versions()  # once, in place of a question per file
            return made

        return store

    found = bucket.folders(one.prefix)
    return {name: opened(name) for name in found if _is_log(name)}


def _is_log(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


async def _signed(file: Path) -> tuple[dict[str, str], dict[str, bytes]] | None:
    """Keys and last checkpoints as the database has them; None where it does not answer."""
    try:
        database = Database(read_settings(file).database.recorder, name="audit-drill", size=1)
        await database.open()
    except PortcullisError:
        return None
    try:
        keys, notes = {}, {}
        async with database.connection() as conn:
            for log in await read_logs(conn):
                keys[str(log.log_id)] = log.vkey
                signed = await read_signed(conn, log)
                if signed is not None:
                    notes[str(log.log_id)] = signed.note
        return keys, notes
    except (psycopg.Error, PortcullisError):
        return None
    finally:
        await database.close()
