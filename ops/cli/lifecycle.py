"""Commands on the whole installation: init, up, down, status, migrate, preflight."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from ops import control, platform
from ops import migrate as migrator
from ops import preflight as checks
from ops.cli.output import json_option, print_json, print_table
from ops.initialise import Choices, initialise
from ops.installation import install as make_all
from ops.paths import Places, places
from ops.probe import get, unready
from ops.processes import main as supervise
from ops.running import Running, running, supervised
from ops.settings import read_settings
from tenancy.errors import ConfigurationError


@click.command()
@click.option(
    "--ingress-port", default=8443, show_default=True, help="Port of the public listener."
)
@click.option(
    "--admin-port", default=9443, show_default=True, help="Port of the management listener."
)
@click.option("--workers", default=2, show_default=True, help="How many worker processes.")
@click.option(
    "--backup",
    type=click.Path(file_okay=False, path_type=Path),
    help="Archive every commit there as it happens, synchronously: best another machine's disk.",
)
@click.pass_obj
def init(file: Path, ingress_port: int, admin_port: int, workers: int, backup: Path | None) -> None:
    """Make database, keys, certificates and settings, once.

    Everything goes into the directory of the settings file (var/). Refuses where there is an
    installation: it never overwrites a key.
    """
    if file.name != "portcullis.toml":
        raise ConfigurationError(f"init writes a file named portcullis.toml, not {file.name}")
    choices = Choices(
        ingress_port=ingress_port, admin_port=admin_port, worker_processes=workers, backup=backup
    )
    initialise(places(file.parent), choices, datetime.now(UTC))
    click.echo(
        f"initialised: {file}\n"
        f"the platform's first key is in {places(file.parent).keys / 'operator.key'} (0600)\n"
        'next: portcullis up, then portcullis tenant create "My Fund"; operators are invited with\n'
        "      portcullis user create NAME --email ADDRESS --roles operator --as operator"
    )


@click.command()
@json_option
@click.pass_obj
def install(file: Path, as_json: bool) -> None:
    """Make what these settings name and is not there yet: tokens, schema, platform.

    For hosts whose settings and database others put in place (ansible/). Run again, it changes nothing.
    """
    settings = read_settings(file)
    made = make_all(settings, Places(settings.instance.var, settings.instance.runtime).keys)
    if as_json:
        print_json({"made": made})
    else:
        click.echo("\n".join(made) if made else "everything is there")


@click.command()
@click.option(
    "--foreground", is_flag=True, help="Stay and run until SIGTERM (for systemd and the like)."
)
@click.option("--timeout", default=control.UP_TIMEOUT_S, show_default=True, help="Seconds to wait.")
@json_option
@click.pass_obj
def up(file: Path, foreground: bool, timeout: float, as_json: bool) -> None:
    """Start everything and wait until all of it is ready."""
    if foreground:
        sys.exit(supervise(["--settings", str(file)]))
    state = supervised(control.up(file, timeout))
    _show(state, _unready(state), as_json)
    if not as_json:
        click.echo(next_steps(places(file.parent).keys))


@click.command()
@click.pass_obj
def down(file: Path) -> None:
    """Stop everything that `up` started, in order. Data stays."""
    stopped = control.down(read_settings(file))
    click.echo("stopped" if stopped else "nothing was running")


@click.command()
@json_option
@click.pass_obj
def status(file: Path, as_json: bool) -> None:
    """What runs, and is it ready. What is not says why. Exit status 1 where something is not."""
    state = running(read_settings(file))
    if state is None:
        click.echo("null" if as_json else "nothing is running; `portcullis up` starts it")
        sys.exit(1)
    why = _unready(state)
    _show(state, why, as_json)
    sys.exit(0 if state.ready and not why else 1)


@click.command()
@click.option(
    "--check", is_flag=True, help="Only say what is pending; exit status 1 where anything is."
)
@click.option(
    "--expand", is_flag=True, help="Only what adds: the release before can be gone back to."
)
@json_option
@click.pass_obj
def migrate(file: Path, check: bool, expand: bool, as_json: bool) -> None:
    """Bring the database schema forward."""
    owner = read_settings(file).database.owner
    names = migrator.check(owner) if check else migrator.migrate(owner, expand_only=expand)
    if as_json:
        print_json({"pending" if check else "applied": names})
    else:
        click.echo("\n".join(names) if names else "the schema is up to date")
    sys.exit(1 if check and names else 0)


@click.command()
@click.option(
    "--settings-only", is_flag=True,
    help="Only whether the file can be taken, on a host where nothing else is there yet.",
)  # fmt: skip
@json_option
@click.pass_obj
def preflight(file: Path, settings_only: bool, as_json: bool) -> None:
    """Say why it would not start. Exit status 1 where it would not."""
    settings = read_settings(file)
    findings = checks.of_settings(settings) if settings_only else checks.preflight(settings)
    if as_json:
        print_json([{"check": finding.name, "problem": finding.problem} for finding in findings])
    else:
        print_table(("check", "problem"), [(name, problem or "ok") for name, problem in findings])
    sys.exit(1 if any(finding.problem for finding in findings) else 0)


def _show(state: Running, why: Mapping[str, str], as_json: bool) -> None:
    if as_json:
        print_json({**msgspec.structs.asdict(state), "unready": why})
        return
    rows: list[tuple[object, ...]] = [
        (name, one.pid, "" if one.restarts is None else one.restarts, _said(why.get(name)))
        for name, one in state.processes.items()
    ]
    rows += [
        (name, "", "", _said(why.get(name, "does not run")))
        for name in state.health
        if name not in state.processes
    ]
    print_table(("process", "pid", "restarts", "ready"), rows)
    for name, url in state.urls.items():
        click.echo(f"{name}: {url}")
    if (worm := asyncio.run(_worm(state))) is not None:
        click.echo(f"audit log's files, worm: {worm}")


async def _worm(state: Running) -> str | None:
    """Whether the audit log's files can be removed, of each store; None where the recorder is away."""
    if (sock := state.health.get("recorder-0")) is None:
        return None
    try:
        _, body = await get(sock, "/readyz")
        return str(msgspec.json.decode(body)["details"]["worm"])
    except (OSError, TimeoutError, ValueError, LookupError, TypeError):
        return None


def next_steps(keys: Path) -> str:
    """What is there to be done with an installation that is up, as far as its keys tell."""
    called = os.environ.get("PORTCULLIS_COMMAND", "portcullis")
    operator = keys / f"{platform.KEY_NAME}.key"
    tenants = [path for path in sorted(keys.glob("*.key")) if path != operator]
    first = f'next: {called} tenant create "My Fund"'
    if tenants:  # whether they are still good, only the API knows
        first = (
            f"tenants' keys: {', '.join(path.stem for path in tenants)}; take one with --as NAME"
        )
    lines = [f"the operators' key: {operator}"] if operator.exists() else []
    return "\n".join(
        [*lines, first, "from there to a first signal: docs/operating/command-line.md"]
    )


def _said(why: str | None) -> str:
    return "yes" if why is None else f"no: {why}"


def _unready(state: Running) -> dict[str, str]:
    """Of each process that may not be given work, why."""

    async def ask() -> list[str]:
        return list(await asyncio.gather(*(unready(sock) for sock in state.health.values())))

    said = zip(state.health, asyncio.run(ask()), strict=True)
    return {name: why for name, why in said if why}
