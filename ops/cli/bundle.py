"""`portcullis bundle` and `bundle verify`: one signed archive that `site` installs from without internet."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from ops.bundle.verify import verify as verifying
from ops.cli.output import json_option, print_json
from tenancy.errors import ConfigurationError


@click.group(invoke_without_command=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The directory to make; the archive stands beside it. Neither may be there.",
)
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The SSH key that signs: private, or the public one of a key in the agent or on a token.",
)
@click.option(
    "--source",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    show_default="this directory",
    help="The checkout it is made of.",
)
@click.option("--dirty", is_flag=True, help="Take a checkout that is not as its commit has it.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the Debian packages there, and take from there what an earlier run has fetched.",
)
@json_option
@click.pass_context
def bundle(
    context: click.Context, out: Path | None, key: Path | None, source: Path, dirty: bool,
    keep: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Make one signed archive that hosts without internet are installed from.

    \b
    portcullis bundle --out DIRECTORY --key FILE     from a checkout, where the registries are reached
    portcullis bundle verify ARCHIVE --signers FILE  wherever it goes

    It holds the product, its wheels, the controller's tools, every Debian package that the roles install
    with all that those need, an SBOM and what is known of vulnerabilities. It is made on the Debian release
    that the hosts run. SOURCE_DATE_EPOCH stands for the time where it is set.
    """
    if context.invoked_subcommand is not None:
        return
    if out is None or key is None:
        raise click.UsageError(f"Missing option '{'--key' if out else '--out'}'.")
    try:
        from ops.bundle.make import Wish, make  # with what an installed product does not have
    except ImportError as error:
        raise ConfigurationError(
            f"a bundle is made from a checkout with its tools; {error.name} is missing:"
            " pip install --require-hashes -r requirements/dev.lock"
        ) from None
    wish = Wish(
        out.absolute(), key.absolute(), source.absolute(), dirty, epoch_of(os.environ),
        keep and keep.absolute(),
    )  # fmt: skip
    try:
        made = make(wish, datetime.now(UTC), lambda what: click.echo(f"{what} …", err=True))
    except OSError as error:
        raise click.ClickException(f"the bundle cannot be written: {error}") from None
    if as_json:
        print_json(made._asdict())
        return
    click.echo(
        f"{made.archive}: {made.wheels} wheels, {made.packages} Debian packages, {made.bytes >> 20} MiB\n"
        f"SHA-256 of its SHA256SUMS: {made.sums}"
    )


def epoch_of(environment: os._Environ[str] | dict[str, str]) -> int | None:
    """SOURCE_DATE_EPOCH, if it is set. Raises ConfigurationError."""
    said = environment.get("SOURCE_DATE_EPOCH")
    if said is None:
        return None
    if not said.isascii() or not said.isdigit():
        raise ConfigurationError(
            f"SOURCE_DATE_EPOCH is {said!r}, should be whole seconds since 1970"
        )
    return int(said)


@bundle.command()
@click.argument("path", metavar="BUNDLE", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--signers",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Who may sign: an allowed_signers file (ssh-keygen(1)), not from the bundle.",
)
@json_option
def verify(path: Path, signers: Path, as_json: bool) -> None:
    """Say whether BUNDLE, an archive or its directory, is what one of the signers made.

    Signature, sums, nothing missing, nothing extra; manifest, locks, package index and SBOM name what is
    there. Exit status: 0 it is whole, 1 it is not, with each fault and what would be right.
    """
    verdict = verifying(path, signers)
    if as_json:
        print_json(verdict._asdict())
    elif verdict.faults:
        for fault in verdict.faults:
            click.echo(fault, err=True)
    else:
        said = verdict.manifest
        click.echo(
            f"whole: {said['version']} of commit {said['commit'][:12]}, signed by {verdict.signer}\n"
            f"SHA-256 of its SHA256SUMS: {verdict.sums}"
        )
    sys.exit(1 if verdict.faults else 0)
