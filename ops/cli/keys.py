"""`portcullis hsm rotate|retire|destroy|calendar`: the life of keys after they were made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import click
import msgspec

from hsm.facts import Facts
from ops import key_ceremonies, key_endings
from ops.cli.hsm_people import said_plainly
from ops.cli.output import json_option, print_json, print_table
from ops.key_ceremonies import DAYS, House, Rotated, house
from ops.settings import read_settings
from tenancy.store import hsm_keys
from tenancy.values import TenantID

T = TypeVar("T")
NOW = timedelta(0)

_now = click.option(
    "--now", "at_once", is_flag=True, help="Do not wait until the grace is over: a key has leaked."
)
_days = click.option(
    "--days", type=click.IntRange(1, 3650), help="When the next rotation is due, in days from now."
)


@click.group()
def rotate() -> None:
    """Make the next version of a key, beside the one that is in use. Nothing pauses."""


@rotate.command("kek")
@click.argument("tenant")
@_days
@json_option
@click.pass_obj
def rotate_kek(file: Path, tenant: str, days: int | None, as_json: bool) -> None:
    """New keys for TENANT (its id, or `all`): what is sealed from now on is sealed under them."""

    async def work(at: House) -> list[Rotated]:
        wanted = (
            await key_ceremonies.tenants_with_keys(at)
            if tenant == "all"
            else [TenantID(_uuid(tenant))]
        )
        return [await key_ceremonies.rotate_kek(at, one, days or DAYS["kek"]) for one in wanted]

    for rotated in _run(file, work):
        _print_rotated(rotated, as_json)


@rotate.command("enrol-key")
@_days
@json_option
@click.pass_obj
def rotate_enrol_key(file: Path, days: int | None, as_json: bool) -> None:
    """A new pair to encrypt secrets to. The old one opens until it is retired."""
    rotated = _run(file, lambda at: key_ceremonies.rotate_enrol_key(at, days or DAYS["enrol"]))
    _print_rotated(rotated, as_json)


@rotate.command("log-key")
@click.argument("origin")
@_days
@json_option
@click.pass_obj
def rotate_log_key(file: Path, origin: str, days: int | None, as_json: bool) -> None:
    """A second key for the audit log ORIGIN: checkpoints bear both signatures until the old is retired."""
    rotated = _run(file, lambda at: key_ceremonies.rotate_log_key(at, origin, days or DAYS["log"]))
    _print_rotated(rotated, as_json)


@click.group()
def retire() -> None:
    """Destroy an old version of a key that nothing needs any more."""


@retire.command("kek")
@click.argument("tenant", type=click.UUID)
@click.argument("version", type=click.IntRange(1))
@_now
@json_option
@click.pass_obj
def retire_kek(file: Path, tenant: UUID, version: int, at_once: bool, as_json: bool) -> None:
    """Destroy VERSION of TENANT's keys. Refused while a live row is sealed under it, --now or not."""
    after = NOW if at_once else key_endings.ON_ITS_WAY
    work = key_endings.retire_kek
    _print_facts(_run(file, lambda at: work(at, TenantID(tenant), version, after=after)), as_json)


@retire.command("enrol-key")
@click.argument("version", type=click.IntRange(1))
@_now
@json_option
@click.pass_obj
def retire_enrol_key(file: Path, version: int, at_once: bool, as_json: bool) -> None:
    """Destroy VERSION of the enrolment pair: what was encrypted to it opens no more."""
    after = NOW if at_once else key_endings.GRACE
    _print_facts(
        _run(file, lambda at: key_endings.retire_enrol_key(at, version, after=after)), as_json
    )


@retire.command("log-key")
@click.argument("origin")
@click.argument("version", type=click.IntRange(1))
@_now
@json_option
@click.pass_obj
def retire_log_key(file: Path, origin: str, version: int, at_once: bool, as_json: bool) -> None:
    """Destroy VERSION of the audit log ORIGIN's key. Its public half stays in the log's `vkey` file."""
    after = NOW if at_once else key_endings.GRACE
    work = key_endings.retire_log_key
    _print_facts(_run(file, lambda at: work(at, origin, version, after=after)), as_json)


@click.command()
@click.argument("tenant", type=click.UUID)
@click.option(
    "--despite-positions", is_flag=True, help="Its positions are closed elsewhere, or handed over."
)
@click.option("--yes", "confirmed", help="TENANT once more; asked for where it is left out.")
@json_option
@click.pass_obj
def destroy(
    file: Path, tenant: UUID, despite_positions: bool, confirmed: str | None, as_json: bool
) -> None:
    """Destroy every key of TENANT in every token, and prove it. There is no way back.

    Two operators have agreed before (`portcullis tenant offboard`), and the tenant is halted.
    """
    said = confirmed or click.prompt("Every secret of this tenant is lost. Its id, once more")
    if said.strip() != str(tenant):
        raise click.ClickException("that is another id: nothing was destroyed")
    proof = _run(
        file,
        lambda at: key_endings.destroy_tenant(
            at, TenantID(tenant), despite_positions=despite_positions
        ),
    )
    if as_json:
        print_json(msgspec.to_builtins(proof))
        return
    rows = [
        (was.row, was.kek_version, was.outcome, after.outcome, daemon.outcome)
        for was, after, daemon in zip(proof.before, proof.facts.tried, proof.signer, strict=True)
    ]
    _print_facts(proof.facts, False)
    print_table(("row", "version", "before", "at the token", "at the signer"), rows)
    click.echo("recorded in the platform's log as tenant.keys_destroyed")


@click.command()
@click.option("--all", "everything", is_flag=True, help="Destroyed keys too.")
@json_option
@click.pass_obj
def calendar(file: Path, everything: bool, as_json: bool) -> None:
    """Every key of this installation: version, made, due, state. What is due first comes first."""

    async def work(at: House) -> list[hsm_keys.PlatformKey]:
        async with at.database.tenant(at.platform) as conn:
            return [key async for key in hsm_keys.all_of_platform(conn)]

    keys = [key for key in _run(file, work) if everything or key.state != "destroyed"]
    keys.sort(key=lambda key: (key.state != "current", key.due_at))
    if as_json:
        print_json([msgspec.to_builtins(key) for key in keys])
        return
    rows = [
        (key.kind, key.tenant, key.tenant_id, f"v{key.version}", key.state,
         f"{key.made_at:%Y-%m-%d}", _when(key), key.label)
        for key in keys
    ]  # fmt: skip
    print_table(("key", "of", "tenant", "version", "state", "made", "due", "label"), rows)


COMMANDS = (rotate, retire, destroy, calendar)


def _when(key: hsm_keys.PlatformKey) -> str:
    if key.state == "destroyed":
        return f"destroyed {key.destroyed_at:%Y-%m-%d}"
    if key.state != "current":
        return "retire it"
    overdue = " OVERDUE" if key.due_at <= datetime.now(UTC) else ""
    return f"{key.due_at:%Y-%m-%d}{overdue}"


def _run(file: Path, work: Callable[[House], Awaitable[T]]) -> T:
    settings = read_settings(file)

    async def held() -> T:
        async with house(settings) as at:
            return await work(at)

    with said_plainly(settings):
        return asyncio.run(held())


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise click.BadParameter("a tenant's id, or `all`", param_hint="TENANT") from None


def _print_rotated(rotated: Rotated, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(rotated))
        return
    facts = rotated.facts
    subject = f" of {facts.subject}" if facts.subject else ""
    click.echo(f"{facts.kind}{subject}: version {facts.versions[0]}, due {rotated.due_at:%Y-%m-%d}")
    _print_objects("made", facts)
    if rotated.reenrol:
        click.echo(f"{len(rotated.reenrol)} rows to be enrolled anew before the old one can go:")
    for row in rotated.reenrol:
        click.echo(f"  {row}")


def _print_facts(facts: Facts, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(facts))
        return
    _print_objects("destroyed", facts)
    click.echo(f"{len(facts.destroyed)} objects destroyed; a search afterwards found {facts.left}")


def _print_objects(what: str, facts: Facts) -> None:
    objects: list[Any] = list(getattr(facts, what))
    print_table((what, "label", "class"), [(o.token, o.label, o.object_class) for o in objects])
