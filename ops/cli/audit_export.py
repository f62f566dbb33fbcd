"""`portcullis audit export` and `audit open`: records with their proofs, out of the log and read again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import click
import msgspec

from audit.export.package import FORMATS, Made, Plan
from audit.export.reader import main as read_package
from audit.export.regimes import Name as RegimeName
from audit.export.selection import Selection
from audit.malformed import Malformed
from audit.record import Kind
from ops import control
from ops.audit_keys import audit_keys
from ops.cli.output import json_option, print_json
from ops.exporting import exporter
from ops.garbage import collect_garbage_rarely
from ops.settings import Settings, read_settings
from tenancy.database import Database
from tenancy.errors import Invalid
from tenancy.ids import new_id
from tenancy.values import TenantID


class Moment(click.ParamType):
    """An RFC 3339 time with its offset, or a date, which is midnight UTC."""

    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date and no RFC 3339 time", param, ctx)
        if moment.tzinfo is None:
            if len(value) > len("2026-01-31"):
                self.fail(f"{value!r} does not say its offset: append Z", param, ctx)
            moment = moment.replace(tzinfo=UTC)
        return moment


def _many(name: str, into: str, what: str, kind: Any = click.UUID) -> Callable[[Any], Any]:
    return click.option(name, into, multiple=True, type=kind, help=f"{what}; may be repeated.")


@click.command("export")
@click.option("--tenant", required=True, type=click.UUID, help="Whose records.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path, exists=False),
    help="The package's directory; it must not exist yet.",
)  # fmt: skip
@click.option("--why", required=True, help="For whom and what for: it stands in the log.")
@_many("--order", "orders", "Records of this order", str)
@_many("--account", "accounts", "Records of this account")
@_many("--strategy", "strategies", "Records of this strategy and its orders")
@_many("--person", "people", "Records by or about this person")
@_many("--kind", "kinds", "Records of this kind", click.Choice([kind.value for kind in Kind]))
@click.option("--since", type=Moment(), help="Recorded at this time or later.")
@click.option("--until", type=Moment(), help="Recorded before this time.")
@click.option(
    "--format", "formats", multiple=True, type=click.Choice(FORMATS), default=("csv", "html"),
    show_default=True, help="Besides JSON lines, which are always written; may be repeated.",
)  # fmt: skip
@click.option(
    "--package", "regime", type=click.Choice(get_args(RegimeName)),
    help="Add what this rule asks for: its fields, an index, the audit of the audit.",
)  # fmt: skip
@click.option(
    "--sealed", is_flag=True, help="Leave payloads encrypted, for an examiner with a key of theirs."
)
@json_option
@click.pass_obj
def export(
    file: Path,
    tenant: UUID,
    out: Path,
    why: str,
    formats: Sequence[str],
    regime: RegimeName | None,
    sealed: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Write chosen records with their proofs into a directory that opens without our software.

    Different options must all agree, one repeated needs any of its values; none is the whole log.
    The export itself leaves two records in the tenant's log: that it was wanted, and what was made.
    """
    try:
        selection = msgspec.convert(chosen, Selection)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from None
    plan = Plan(
        export_id=new_id(), selection=selection, sealed=sealed, why=why, regime=regime,
        formats=frozenset(name for name in FORMATS if name in formats),
    )  # fmt: skip
    try:
        collect_garbage_rarely()
        made = asyncio.run(_export(read_settings(file), TenantID(tenant), plan, out))
    except Malformed as error:
        raise click.ClickException(f"nothing was given out: {error}") from None
    if as_json:
        print_json(made)
        return
    click.echo(
        f"exported: {made.records} records of {made.size}, {made.bytes:,} bytes, into {out}\n"
        f"  manifest sha256 {made.manifest_sha256}\n"
        f"check it:  python3 {out}/open.pyz {out} --vkey-file TRUSTED"
    )


async def _export(settings: Settings, tenant: TenantID, plan: Plan, out: Path) -> Made:
    control.check_runs(settings)
    database = Database(settings.database.admin, name="portcullis-audit-export", size=2)
    await database.open()
    try:
        async with audit_keys(settings, settings.database.admin, "portcullis-audit-export"):
            return await exporter(database, tenant, settings).make(plan, out)
    finally:
        await database.close()


@click.command("open")
@click.option(
    "--package", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The directory that `audit export` wrote.",
)  # fmt: skip
@click.option(
    "--vkey-file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The log's verifier key, from a source you trust.",
)  # fmt: skip
@click.option(
    "--anchor-vkey-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The anchor log's verifier key, from a source you trust: opens the package's anchor.",
)  # fmt: skip
@click.option(
    "--policy", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A C2SP tlog-policy, from a source you trust: whose cosignatures the anchor must bear.",
)  # fmt: skip
@click.option(
    "--key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM of an examiner's private key: opens what is encrypted.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="Where to write the opened records.")
@json_option
@click.pass_context
def open_package(
    context: click.Context,
    package: Path,
    vkey_file: Path,
    out: Path | None,
    as_json: bool,
    **files: Path | None,
) -> None:
    """Verify an exported package, and open what is encrypted in it with an examiner's key.

    Needs no database, no HSM and no network; `open.pyz` in the package does the same without us.
    With --anchor-vkey-file and --policy the witnesses' word is counted, as far as it reaches. Exit status
    as for `verify`; 1: it could not be begun, or it verifies and could not be opened.
    """
    words = [str(package), "--vkey-file", str(vkey_file)]
    for name, file in {**files, "out": out}.items():
        if file is not None:
            words += [f"--{name.replace('_', '-')}", str(file)]
    context.exit(read_package([*words, "--json"] if as_json else words))
