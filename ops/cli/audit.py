"""`portcullis audit`: check a log from its files alone, and prove one order's story."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from audit.bundle import verify_bundle
from audit.malformed import Malformed
from audit.proving import prove_order
from audit.verdict import describe
from audit.verifier import verify_log
from ops import control
from ops.cli.audit_export import export, open_package
from ops.settings import Settings, read_settings
from ops.tenants import operator_scope
from tenancy.database import Database
from tenancy.values import TenantID


@click.group()
def audit() -> None:
    """Check the audit log, and prove what happened to an order."""


audit.add_command(export)
audit.add_command(open_package)


@audit.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--vkey-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The log's verifier key, from a source you trust. Without it DIRECTORY/vkey is taken, "
    "which proves only that the files agree with each other.",
)
@click.option(
    "--since",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An older checkpoint of this log: prove that nothing below it has changed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def verify(
    context: click.Context,
    directory: Path,
    vkey_file: Path | None,
    since: Path | None,
    as_json: bool,
) -> None:
    """Verify one log's DIRECTORY (it holds `checkpoint` and `tile/`) from its files alone.

    Needs no database, no HSM and no network. Exit status: 0 verified, 2 tampered (bytes are not
    what was signed), 3 inconsistent (what was signed contradicts itself), 5 incomplete (files are
    missing). The first bad index is printed.
    """
    key = vkey_file or directory / "vkey"
    if not key.is_file():
        raise click.ClickException(
            f"{directory} holds no file `vkey`: is it one log's directory (<store>/<log id>)? "
            "Name the key with --vkey-file."
        )
    older = since.read_bytes() if since else None
    verdict = verify_log(directory, key.read_text(), older)
    click.echo(json.dumps(verdict.as_json()) if as_json else describe(verdict))
    if vkey_file is None and not as_json:
        click.echo(
            "  key: taken from the directory itself; compare it with one from a trusted source"
        )
    context.exit(verdict.code)


@audit.command("verify-bundle")
@click.argument("bundle", type=click.File("r"))
@click.option("--vkey-file", required=True, type=click.Path(exists=True, path_type=Path))
@click.pass_context
def verify_one(context: click.Context, bundle: Any, vkey_file: Path) -> None:
    """Verify a BUNDLE that `audit prove` wrote. Exit status as for `verify`."""
    try:
        content = json.load(bundle)
    except ValueError as error:
        raise click.ClickException(f"the bundle is not JSON: {error}") from None
    verdict = verify_bundle(content, vkey_file.read_text())
    click.echo(describe(verdict))
    context.exit(verdict.code)


@audit.command()
@click.option("--order", "oid", required=True, help="The order's id (not an attempt's ClOrdID).")
@click.option("--tenant", required=True, type=click.UUID, help="Whose order it is.")
@click.option("--out", type=click.File("w"), default="-", help="Where to write; standard output.")
@click.pass_obj
def prove(file: Path, oid: str, tenant: UUID, out: Any) -> None:
    """Write one order's records with their proofs: JSON that opens without our software."""
    try:
        bundle = asyncio.run(_prove(read_settings(file), TenantID(tenant), oid))
    except Malformed as error:
        raise click.ClickException(str(error)) from None
    json.dump(bundle, out, indent=2, ensure_ascii=False)
    out.write("\n")


async def _prove(settings: Settings, tenant: TenantID, oid: str) -> dict[str, Any]:
    control.check_runs(settings)
    database = Database(settings.database.admin, name="portcullis-audit-prove", size=1)
    await database.open()
    try:
        return await prove_order(database, operator_scope(tenant), settings.recorder.store, oid)
    finally:
        await database.close()
