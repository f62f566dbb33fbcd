"""`portcullis audit hold|release|shred|holds|erasures|retention|receipt`: what is kept, held and erased.

All but `receipt` ask the admin API, so they work from anywhere; `receipt` reads the log's files on the host.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import click

from audit.malformed import Malformed
from audit.receipt import erasure_receipt
from audit.retention import CLASSES, YEARS
from ops import control
from ops.audit_keys import audit_keys
from ops.cli.api.connection import asked, connection_options, where
from ops.cli.api.show import show_reply
from ops.cli.output import json_option, print_json, print_table
from ops.settings import Settings, read_settings
from ops.tenants import operator_scope
from tenancy.database import Database
from tenancy.values import TenantID

reason_needed = click.option("--reason", prompt="Why", help="Why; kept with the record.")


@click.command()
@click.option("--subject", help="account:<id>, person:<id> or tenant.")
@click.option("--order", "oid", help="An order's id.")
@click.option("--account", "acct", help="An account's id.")
@click.option("--from", "from_at", help="What happened from then on: RFC 3339, with its zone.")
@click.option("--to", "to_at", help="What happened before then.")
@reason_needed
@json_option
@connection_options
@click.pass_obj
def hold(file: Path, reason: str, as_json: bool, **given: Any) -> None:
    """Hold records, so that nothing of them is erased: at once, and until two people release it.

    Each option narrows it; without any, everything of the tenant is held. A second person confirms it
    with `portcullis proposal approve`; a proposal that is refused holds no longer.

    \b
    Example:
      portcullis audit hold --account 0197… --from 2026-01-01T00:00:00Z --reason 'letter of 3 May'
    """
    place = where(file, given)
    body = {name: value for name, value in given.items() if value is not None}
    reply = asked(place, lambda api: api.ask("POST", "/v1/audit/holds", {**body, "reason": reason}))
    show_reply(reply, as_json=as_json, meanwhile="it holds already, unless they refuse it")


@click.command()
@click.argument("hold_id", type=click.UUID)
@reason_needed
@json_option
@connection_options
@click.pass_obj
def release(file: Path, hold_id: UUID, reason: str, as_json: bool, **given: Any) -> None:
    """Ask that a hold be released. It holds until a second person agrees."""
    address = f"/v1/audit/holds/{hold_id}/release"
    reply = asked(where(file, given), lambda api: api.ask("POST", address, {"reason": reason}))
    show_reply(reply, as_json=as_json)


@click.command()
@click.argument("subject")
@click.option("--yes", is_flag=True, help="Do not ask.")
@reason_needed
@json_option
@connection_options
@click.pass_obj
def shred(file: Path, subject: str, yes: bool, reason: str, as_json: bool, **given: Any) -> None:
    """Ask that what the log says about SUBJECT (account:<id> or person:<id>) be destroyed, for good.

    Refused within the retention and under a hold. A second person agrees a minute later at the earliest.
    """
    if not yes:
        click.confirm(f"the content of every record of {subject} is destroyed: really?", abort=True)
    address = f"/v1/audit/subjects/{quote(subject, safe='')}/shred"
    reply = asked(where(file, given), lambda api: api.ask("POST", address, {"reason": reason}))
    show_reply(reply, as_json=as_json)


@click.command()
@json_option
@connection_options
@click.pass_obj
def holds(file: Path, as_json: bool, **given: Any) -> None:
    """Every legal hold: standing, waiting for its second person, released."""
    _list(file, given, "/v1/audit/holds", as_json, (
        "hold_id", "subject", "oid", "acct", "from_at", "to_at", "placed_at", "released_at", "reason",
    ))  # fmt: skip


@click.command()
@json_option
@connection_options
@click.pass_obj
def erasures(file: Path, as_json: bool, **given: Any) -> None:
    """What was destroyed."""
    _list(file, given, "/v1/audit/erasures", as_json, (
        "erasure_id", "subject", "records", "erased_at", "reason",
    ))  # fmt: skip


@click.command()
@click.option("--class", "cls", type=click.Choice(CLASSES), help="Which class to keep for longer.")
@click.option("--regime", "regimes", multiple=True, type=click.Choice(list(YEARS)))
@click.option("--years", type=click.IntRange(1, 100))
@json_option
@connection_options
@click.pass_obj
def retention(
    file: Path, cls: str | None, regimes: tuple[str, ...], years: int | None, as_json: bool,
    **given: Any,
) -> None:  # fmt: skip
    """How long records are kept. With --class: for longer, by a regime or a number of years; never shorter."""
    if cls is None:
        _list(file, given, "/v1/audit/retention", as_json, ("cls", "years", "regimes"))
        return
    body = {"cls": cls, "regimes": list(regimes), **({"years": years} if years else {})}
    reply = asked(where(file, given), lambda api: api.ask("POST", "/v1/audit/retention", body))
    show_reply(reply, as_json=as_json)


def _list(
    file: Path, given: dict[str, Any], address: str, as_json: bool, names: tuple[str, ...]
) -> None:
    content = asked(where(file, given), lambda api: api.get(address))
    if as_json:
        print_json(content)
        return
    rows = [[str(item.get(name) or "") for name in names] for item in content["items"]]
    print_table(names, rows)


@click.command()
@click.argument("erasure_id", type=click.UUID)
@click.option("--tenant", required=True, type=click.UUID, help="Whose log it is.")
@click.option("--out", type=click.File("w"), default="-", help="Where to write; standard output.")
@click.pass_obj
def receipt(file: Path, erasure_id: UUID, tenant: UUID, out: Any) -> None:
    """Write the receipt of an erasure: the log's record of it, with its proof. On the host.

    `portcullis audit verify-bundle` checks it, and needs neither us nor our log.
    """
    try:
        made = asyncio.run(_receipt(read_settings(file), TenantID(tenant), erasure_id))
    except Malformed as error:
        raise click.ClickException(str(error)) from None
    json.dump(made, out, indent=2, ensure_ascii=False)
    out.write("\n")


async def _receipt(settings: Settings, tenant: TenantID, erasure_id: UUID) -> dict[str, Any]:
    control.check_runs(settings)
    database = Database(settings.database.admin, name="portcullis-audit-receipt", size=1)
    await database.open()
    try:
        async with audit_keys(settings, settings.database.admin, "portcullis-audit-receipt"):
            scope = operator_scope(tenant)
            return await erasure_receipt(database, scope, settings.recorder.store, erasure_id)
    finally:
        await database.close()


COMMANDS = (hold, release, shred, holds, erasures, retention, receipt)
