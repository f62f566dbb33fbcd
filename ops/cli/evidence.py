"""`portcullis evidence collect|check`: secure what an incident leaves behind, before it is gone. On the host.

What is kept, held and erased of the audit log's own records is `portcullis audit hold` and its
neighbours; what a court or an authority gets of them is `portcullis audit export`.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from ops.cli.output import json_option, print_json
from ops.doctor.examination import ground_of
from ops.evidence.archive import check as check_archive
from ops.evidence.archive import holding
from ops.evidence.collection import Collected, Wish
from ops.evidence.collection import collect as collect_all
from ops.evidence.known_secrets import known_secrets
from ops.masking import Masker
from ops.settings import read_settings

_SPAN = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNIT = {"m": "minutes", "h": "hours", "d": "days"}
_secret_files = click.option(
    "--secret-file",
    "secrets",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with further secrets, one a line, that are looked for too. Repeatable.",
)


@click.group()
def evidence() -> None:
    """Secure what an incident leaves behind, in one archive.

    \b
    First:  portcullis evidence collect --out /mnt/usb --by 'Ada Lovelace' --why 'orders twice?'
    Then:   write the SHA-256 that it prints into the incident's log, by hand
    """


@evidence.command()
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The directory of the archive: best on another disk. Made if it is not there.",
)
@click.option("--by", required=True, help="Who collects; it stands in the archive.")
@click.option("--why", default="", help="Which incident; it stands in the archive.")
@click.option(
    "--since",
    default="24h",
    show_default=True,
    help="Logs from then on: 90m, 24h, 7d, or RFC 3339 with its zone.",
)
@click.option(
    "--attach",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A directory whose files go in too, masked: what other programs of this host said.",
)
@_secret_files
@json_option
@click.pass_obj
def collect(
    file: Path,
    out: Path,
    by: str,
    why: str,
    since: str,
    attach: Path | None,
    secrets: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Collect everything that helps to find out what happened, in one archive with sums.

    The doctor's report, versions, settings, processes, logs, metrics, the kill switch, doubts and
    drifts, database sessions, the clock, the HSM's figures and refusals, the audit log's signed heads with
    a proof that it only grew, and the stores' manifests. It changes nothing, works while half of the
    product is down, and lists what it could not get. Secrets are masked; no record of a customer is in it
    beyond ids, but logs name accounts: keep it as you keep those.

    Exit status: 0 all was collected, 1 the archive is there and something is not in it, 2 asked wrongly.
    """
    ground = ground_of(read_settings(file), file)
    wish = Wish(ground, moment(since, datetime.now(UTC)), by, why, attach, secrets)
    from ops.evidence.parts import PARTS  # the half of all imports, and not for `check`

    try:
        done = asyncio.run(collect_all(wish, out.absolute(), PARTS))
    except OSError as error:
        raise click.ClickException(
            f"the archive cannot be written to {out}: {error.strerror}"
        ) from None
    _show(done, as_json)
    sys.exit(1 if done.gaps else 0)


@evidence.command()
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--no-secret",
    is_flag=True,
    help="Look also for every secret that this host's files hold; needs to read them. On the host.",
)
@_secret_files
@json_option
@click.pass_obj
def check(
    file: Path, archive: Path, no_secret: bool, secrets: tuple[Path, ...], as_json: bool
) -> None:
    """Say whether an ARCHIVE is still what was collected: every file against the manifest in it.

    That the manifest itself is the one that was made, only the archive's SHA-256 says, which was
    printed then. Exit status: 0 it is whole, 1 it is not.
    """
    try:
        found = check_archive(archive)
        faults = found.faults + (_secrets_in(archive, file, secrets) if no_secret else ())
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise click.ClickException(f"{archive} cannot be read as an archive: {error}") from None
    if as_json:
        print_json({"whole": not faults, "faults": faults, "manifest": found.facts})
    else:
        for fault in faults:
            click.echo(f"wrong: {fault}")
        said = found.facts
        if said:
            who = said["collected_by"]["said"]
            click.echo(
                f"collected by {who} of {said['instance']} on {said['host']}, {said['began_at']}"
            )
            click.echo(
                f"{len(said['files'])} files, {len(said['not_collected'])} things not collected"
            )
        click.echo("not as it should be" if faults else "whole")
    sys.exit(1 if faults else 0)


def _secrets_in(archive: Path, file: Path, more: tuple[Path, ...]) -> tuple[str, ...]:
    """A sentence for each file with a secret of this host, and for each secret that could not be looked for."""
    known = known_secrets(read_settings(file), more)
    unread = [
        f"{path} cannot be read, its secrets were not looked for: {why}"
        for path, why in known.unread
    ]
    return (
        *unread,
        *(
            f"a secret of this host stands in {name}"
            for name in holding(archive, Masker(known.values))
        ),
    )


def moment(text: str, now: datetime) -> datetime:
    """`24h` before `now`, or the time that is written. Raises click.BadParameter."""
    if span := _SPAN.fullmatch(text):
        return now - timedelta(**{_UNIT[span[2]]: int(span[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise click.BadParameter(
            f"{text!r} is neither a span (90m, 24h, 7d) nor a time with its zone (2026-11-22T03:00:00Z)",
            param_hint="--since",
        )
    return at.astimezone(UTC)


def _show(done: Collected, as_json: bool) -> None:
    if as_json:
        gaps = [gap._asdict() for gap in done.gaps]
        print_json({**done._asdict(), "gaps": gaps})
        return
    for gap in done.gaps:
        click.echo(f"not collected: {gap.what}: {gap.why}")
    for name in done.leaked:
        click.echo(
            f"A SECRET OF THIS HOST STOOD IN {name}; it was masked. Rotate it: it is part of the incident"
        )
    click.echo(f"{done.path}: {done.files} files, {done.bytes} bytes")
    click.echo(f"SHA-256 {done.sha256}\nwrite that line into the incident's log, with the time")
