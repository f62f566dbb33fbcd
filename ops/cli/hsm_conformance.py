"""`portcullis hsm conformance`: put a PKCS#11 library through every fact that the vault rests on."""

from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path

import click

from hsm.conformance import run
from hsm.conformance.check import Finding
from hsm.pins import asking, read_pin
from hsm.profile import GUARDS, read_profile
from ops.cli.output import json_option, print_json, print_table


@click.command()
@click.option("--module", type=click.Path(path_type=Path), required=True, help="The library (.so).")
@click.option("--profile", required=True, help="Its profile's name, or a profile's TOML file.")
@click.option("--token", help="A token's label. Without it: one made for the run (software only).")
@click.option(
    "--pin-file", type=click.Path(path_type=Path), help="Its user PIN: a file, or prompt:NAME."
)
@json_option
def conformance(
    module: Path, profile: str, token: str | None, pin_file: Path | None, as_json: bool
) -> None:
    """Try whether a PKCS#11 library does all that the design rests on.

    What is made in a named token is removed again, and no wrong PIN is tried there. Exit status 1
    where a finding is not what the profile says, be it worse or better.
    """
    with asking(getpass):
        pin = read_pin(pin_file) if pin_file else None
    about, findings = run.conformance(module, read_profile(profile), token=token, pin=pin)
    differing = [one for one in findings if one.differs]
    if as_json:
        rows = [one._asdict() | {"differs": one.differs} for one in findings]
        print_json({**about, "findings": rows})
    else:
        title = f"{about['manufacturer']} {about['version']}: {module}"
        print_table(
            ("", "check", "found", "the profile says", "remark"), [*map(_row, findings)], title
        )
        for one in differing:
            click.echo(f"≠ {_words(one)}: {one.why}")
        click.echo(_verdict(findings, len(differing), about["profile"]))
    sys.exit(1 if differing else 0)


def _words(finding: Finding) -> str:
    return finding.name.replace("_", " ")


def _row(one: Finding) -> tuple[str | None, ...]:
    mark = "≠" if one.differs else ""
    return mark, _words(one), one.outcome or "not tried", one.expected, one.remark


def _verdict(findings: list[Finding], differing: int, profile: str) -> str:
    missing = [
        _words(one) for one in findings if one.name in GUARDS and one.outcome not in ("holds", None)
    ]
    guards = "all guards hold" if not missing else f"no keys here, without: {'; '.join(missing)}"
    return f"{len(findings)} checks, {differing} not as profile {profile!r} says; {guards}"
