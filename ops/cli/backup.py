"""`portcullis backup`, `restore` and `drill`: what is kept elsewhere, how it comes back, and the proof."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from ops.backup import archived, elsewhere, parts, prepare, sums, tools
from ops.backup import drill as drilling
from ops.backup.aside import set_aside
from ops.backup.layout import Places
from ops.backup.report import Report, Restored
from ops.backup.restore import Target
from ops.backup.restore import restore as restoring
from ops.backup.take import DATABASE, check_own_files, forget_oldest, only_one, take
from ops.cli.output import json_option, print_json, print_table
from ops.settings import Settings, read_settings
from tenancy.clock import SystemClock
from tenancy.errors import ConfigurationError

from_option = click.option(
    "--from",
    "repository",
    type=click.Path(file_okay=False, path_type=Path),
    help="The repository; without it, [backup] directory of the settings.",
)
id_option = click.option("--backup", "backup_id", metavar="ID", help="Which one; else the newest.")


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def backup(context: click.Context, as_json: bool) -> None:
    """Take a base backup of everything now; the WAL archive goes on all the time.

    \b
    portcullis backup prepare       once: role, repository, slot
    portcullis backup               a base backup: daily, by a timer
    portcullis backup list
    portcullis backup verify        read one back, with all the WAL behind it
    portcullis backup aside         after a restore to an older point

    It is whole when its last file stands: one that was interrupted is removed by the next.
    """
    if context.invoked_subcommand is not None:
        return
    with plainly():
        made = take(read_settings(context.obj), context.obj, datetime.now(UTC))
    if as_json:
        print_json(made)
        return
    click.echo(f"{made.backup_id}: {made.bytes >> 20} MiB, verified, WAL from {made.start_segment}")
    for left in made.without:
        click.echo(f"  not in it: {left}")


@backup.command("prepare")
@click.pass_obj
def backup_prepare(file: Path) -> None:
    """Make role, repository and replication slot, once.

    Takes effect with the next start of PostgreSQL: `portcullis down`, `portcullis up`. On a server that others
    run (Patroni) it makes the repository, and says what they have to do first.
    """
    settings = read_settings(file)
    ours = prepare.is_ours(settings)
    made = prepare.prepare(settings) if ours else elsewhere.prepare(settings)
    wanted = prepare.wanted(settings)
    waits = "every commit will wait for it" if wanted.synchronous else "no commit will wait for it"
    start = "portcullis down, portcullis up" if ours else "start the archive's process"
    click.echo(
        f"{wanted.directory}: the archive of {made.installation}; {waits}\n"
        f"next: {start}, then portcullis backup"
    )


@backup.command("list")
@from_option
@json_option
@click.pass_obj
def backup_list(file: Path, repository: Path | None, as_json: bool) -> None:
    """Every whole base backup, the oldest first. Exit status 1 where there is none."""
    there = _places(file, repository).backups()
    if as_json:
        print_json(there)
    else:
        rows = [
            (one.backup_id, one.ended_at, f"{one.bytes >> 20} MiB", one.release, one.schema,
             one.start_segment) for one in there
        ]  # fmt: skip
        print_table(("backup", "ended", "size", "release", "schema", "WAL from"), rows)
    sys.exit(0 if there else 1)


@backup.command("verify")
@from_option
@id_option
@json_option
@click.pass_obj
def backup_verify(
    file: Path, repository: Path | None, backup_id: str | None, as_json: bool
) -> None:
    """Read a backup and the WAL behind it from end to end. Exit status 1 where anything is damaged."""
    places = _places(file, repository)
    chosen = places.backup(backup_id)
    target = places.base(chosen.backup_id)
    wrong = check_own_files(target, chosen.files)
    tools.verify_base(target / DATABASE)
    wal = archived.needed(places, chosen, places.identity().segment_bytes)
    wrong += sums.wrong(places, list(wal.whole))
    if as_json:
        print_json({"backup": chosen.backup_id, "segments": wal.count, "wrong": wrong})
    else:
        said = (
            "\n".join(wrong) or f"{chosen.backup_id} and {wal.count} WAL segments: nothing differs"
        )
        click.echo(said)
    sys.exit(1 if wrong else 0)


@backup.command("forget")
@click.option("--keep", type=click.IntRange(min=1), help="So many stay; else as the settings say.")
@click.pass_obj
def backup_forget(file: Path, keep: int | None) -> None:
    """Remove the oldest base backups, and the WAL that only they needed."""
    wanted = prepare.wanted(read_settings(file))
    places = Places(wanted.directory)
    with only_one(places):
        gone = forget_oldest(places, keep or wanted.keep)
    click.echo("\n".join(gone) if gone else "nothing to remove")


@backup.command("aside")
@click.pass_obj
def backup_aside(file: Path) -> None:
    """Move away what the archive has of a branch that the database left.

    After a restore to an older point, or where pg_receivewal says that its starting point is not in the server's
    history. Nothing is removed.
    """
    wanted = prepare.wanted(read_settings(file))
    places = Places(wanted.directory)
    with only_one(places):
        moved = set_aside(wanted.database, places, datetime.now(UTC))
    if not moved:
        click.echo("nothing to move: the archive has only what is the database's own past")
        return
    click.echo("\n".join(moved))
    click.echo(f"moved below {places.root / 'aside'}; next: portcullis backup")


@backup.command("synchronous")
@click.argument("word", type=click.Choice(["on", "off"]))
@click.pass_obj
def backup_synchronous(file: Path, word: str) -> None:
    """Whether commits wait for the archive, from this moment on.

    `off` lets a host trade whose archive is lost: what is acknowledged from then on is on one disk
    alone. An alert says so until it is `on` again. It holds over restarts of PostgreSQL.
    """
    with prepare.superuser(read_settings(file)) as conn:
        prepare.set_synchronous(conn, word == "on", now=True)
    click.echo("commits wait for the archive" if word == "on" else "commits wait for nobody")


@click.command(short_help="Bring an installation back from a backup, into a directory of its own.")
@from_option
@id_option
@click.option(
    "--to", "var", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="The new var/: empty, or not there.",
)  # fmt: skip
@click.option("--to-time", "to_time", type=click.DateTime(["%Y-%m-%dT%H:%M:%S"]),
              help="As it was then (UTC), not as it was last.")  # fmt: skip
@click.option("--to-lsn", "to_lsn", metavar="LSN", help="The same by a position in the WAL.")
@json_option
@click.pass_obj
def restore(
    file: Path, repository: Path | None, backup_id: str | None, var: Path,
    to_time: datetime | None, to_lsn: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Bring an installation back from a backup, into a directory of its own.

    Never over one that is there. What comes back is halted: no log is signed and no order leaves
    before people have looked (docs/operating/backup.md says what they do). Without --to-time and
    --to-lsn everything that the archive has is replayed.
    """
    if to_time is not None and to_lsn is not None:
        raise ConfigurationError("--to-time and --to-lsn: one of them")
    places = _places(file, repository)
    time = None if to_time is None else to_time.replace(tzinfo=UTC)
    with plainly():
        made = restoring(places, places.backup(backup_id), var, Target(time=time, lsn=to_lsn))
    if as_json:
        print_json(made)
        return
    _tell(made)
    copy = places.base(made.backup_id) / parts.HSM / parts.TOKENS
    settings = f"portcullis --settings {var.absolute() / 'portcullis.toml'}"
    click.echo("next, by hand:")
    if copy.exists():
        click.echo(f"  {settings} hsm restore {copy}")
    for left in made.by_hand:
        click.echo(f"  put in place: {left}")
    click.echo(f"  {settings} preflight; then docs/operating/backup.md, After a restore")


@click.command(short_help="Prove a restore: into a second directory, counted signal by signal.")
@from_option
@id_option
@click.option(
    "--to", "var", required=True, type=click.Path(file_okay=False, path_type=Path),
    help="The second directory: empty, or not there.",
)  # fmt: skip
@click.option("--told", "notes", type=click.File(), help="Ids of signals that a sender was told were "
              "accepted (202), one a line; - for standard input.")  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave what was restored there to be looked at.")
@json_option
@click.pass_obj
def drill(
    file: Path, repository: Path | None, backup_id: str | None, var: Path, notes: Any, keep: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Prove a restore: into a second directory, counted signal by signal.

    Restores the newest backup and the archive as they are now, starts that database alone, and looks for
    every signal that was acknowledged before the drill began: those that the living database shows, and
    those of --told. Says recovery point (0: nothing is missing) and recovery time. Trades nothing, and
    may run beside a living installation. Exit status 1 where anything is missing.
    """
    by_sender = drilling.read_told(notes) if notes is not None else frozenset()
    places = _places(file, repository)
    told = drilling.Told(by_sender, drilling.shown(_living(file)))
    chosen = places.backup(backup_id)
    with plainly():
        report = drilling.drill(places, chosen, var, told, SystemClock(), keep=keep)
    if as_json:
        print_json({**_fields(report), "proved": report.proved})
    else:
        _tell(report.outcome)
        click.echo(_verdict(report))
    sys.exit(0 if report.proved else 1)


@contextmanager
def plainly() -> Iterator[None]:
    """A disk that is full or a right that is missing is a sentence. Raises BackupFailed."""
    try:
        yield
    except OSError as error:
        raise tools.BackupFailed(f"it was not finished, and counts as nothing: {error}") from error


def _places(file: Path, repository: Path | None) -> Places:
    """Raises ConfigurationError where it is no repository."""
    places = Places((repository or prepare.wanted(read_settings(file)).directory).absolute())
    places.identity()
    return places


def _living(file: Path) -> str | None:
    """The living database's superuser, where it is one of ours on this host."""
    try:
        settings: Settings = read_settings(file)
    except ConfigurationError:
        return None
    if not prepare.is_ours(settings):
        return None
    return prepare.server_of(settings).superuser()


def _fields(report: Report) -> dict[str, Any]:
    return dict(msgspec.to_builtins(report))


def _tell(made: Restored) -> None:
    print_table(("step", "s"), [(step.name, f"{step.took_s:.2f}") for step in made.steps])
    click.echo(
        f"restored {made.backup_id} and {made.segments} WAL segments into {made.var}: to WAL"
        f" {made.reached_lsn}, last transaction {made.last_commit_at}\n"
        f"audit log: {made.records} records, every file as signed; {made.halted} logs halted"
    )


def _verdict(report: Report) -> str:
    if not report.told:
        return "nothing was acknowledged before the drill: it proves nothing"
    lines = [
        f"acknowledged before the drill: {report.told} ({report.told_by_sender} by a sender's notes);"
        f" missing: {report.missing}",
        f"recovery point {report.recovery_point_s:g} s, recovery time {report.recovery_time_s:.1f} s",
    ]
    lines += [f"  missing: {name}" for name in report.examples]
    return "\n".join(lines)
