"""`portcullis audit`: check a log from its files alone, and prove one order's story."""

from __future__ import annotations

import asyncio
import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import msgspec

from audit.arguments import ASKED_WRONGLY
from audit.bundle import verify_bundle
from audit.checking import Difference
from audit.logs import Log, read_logs
from audit.malformed import Malformed
from audit.note import VerifierKey, parse_keys
from audit.policy import parse_policy
from audit.proving import prove_order
from audit.receipt_check import FORMAT, verify_receipt
from audit.single_file import single_file
from audit.verdict import OK, TAMPERED, UNWITNESSED, describe
from audit.verifier import verify_log
from audit.verifier_evidence import Evidence
from audit.verifier_files import source_of
from audit.witnessed import check_record
from ops import control
from ops.anchor_log import make_anchor_log
from ops.audit_check import audit_checker
from ops.audit_keys import audit_keys
from ops.cli.audit_drill import audit_drill
from ops.cli.audit_evidence import COMMANDS
from ops.cli.audit_export import export, open_package
from ops.cli.audit_watch import watch
from ops.settings import Settings, read_settings
from ops.tenants import operator_scope
from tenancy.clock import SystemClock
from tenancy.database import Database
from tenancy.values import TenantID


class AskedWrongly(click.UsageError):
    """A wrong option where the exit status is a verdict: 2 is *tampered* there."""

    exit_code = ASKED_WRONGLY


class VerdictGroup(click.Group):
    """Commands whose exit status is a verdict."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise AskedWrongly(error.format_message(), error.ctx) from None


@click.group(cls=VerdictGroup)
def audit() -> None:
    """Check the audit log, and prove what happened to an order."""


for command in (*COMMANDS, audit_drill, export, open_package):
    audit.add_command(command)


@audit.command()
@click.argument("place")
@click.option(
    "--vkey-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The log's verifier key, from a source you trust. Without it the file `vkey` of the log is "
    "taken, which proves only that the files agree with each other.",
)
@click.option(
    "--since",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An older checkpoint of this log: prove that nothing below it has changed.",
)
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A C2SP tlog-policy: whose cosignatures the checkpoint must bear.",
)
@click.option(
    "--anchor",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="An anchor's proof of this log: the witnesses' lines are looked for there.",
)
@click.option(
    "--anchor-vkey-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The anchor log's verifier key, from a source you trust.",
)
@click.option("--manifest", is_flag=True, help="Check the store's manifest and each file it names.")
@click.option("--jobs", default=os.cpu_count() or 1, help="Processes for a long log; all cores.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def verify(
    context: click.Context,
    place: str,
    vkey_file: Path | None,
    since: Path | None,
    policy: Path | None,
    anchor: Path | None,
    anchor_vkey_file: Path | None,
    manifest: bool,
    jobs: int,
    as_json: bool,
) -> None:
    """Verify one log from its files alone: PLACE is its directory, or the address that serves it.

    Needs no database and no HSM, and no network where PLACE is a directory. Exit status: 0
    verified, 2 tampered (bytes are not what was signed), 3 inconsistent (what was signed
    contradicts itself), 4 unwitnessed (too few of the policy's witnesses), 5 incomplete (files are
    missing). The first bad index is printed.
    """
    source = source_of(place)
    try:
        vkey = vkey_file.read_text() if vkey_file else (source.read("vkey") or b"").decode()
        evidence = Evidence(
            parse_policy(policy.read_bytes()) if policy else None,
            anchor.read_bytes() if anchor else None,
            parse_keys(anchor_vkey_file.read_text()) if anchor_vkey_file else (),
            manifest,
        )
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    if not vkey:
        raise click.ClickException(
            f"{place} holds no file `vkey`: is it one log's directory (<store>/<log id>)? "
            "Name the key with --vkey-file."
        )
    if anchor is not None and anchor_vkey_file is None:
        raise click.UsageError("--anchor needs --anchor-vkey-file")
    older = since.read_bytes() if since else None
    verdict = verify_log(source, vkey, older, evidence=evidence, jobs=jobs)
    click.echo(json.dumps(verdict.as_json()) if as_json else describe(verdict))
    if vkey_file is None and not as_json:
        click.echo("  key: taken from the log itself; compare it with one from a trusted source")
    context.exit(verdict.code)


@audit.command()
@click.option("--tenant", type=click.UUID, help="Whose log; every log where none is named.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per log.")
@click.pass_context
def check(context: click.Context, tenant: UUID | None, as_json: bool) -> None:
    """Compare rows, tiles, copies, counts and order heads of the logs now, from the first record on.

    What the recorder does all the time, slowly. Exit status: 0 nothing differs, 2 something does:
    each difference is printed, with the first index it concerns.
    """
    found = asyncio.run(_check(read_settings(context.obj), tenant))
    for log, differences in found:
        if as_json:
            rows = [msgspec.to_builtins(one) for one in differences]
            click.echo(json.dumps({"log": log.origin, "differences": rows}))
        else:
            click.echo(f"{log.origin}: {len(differences) or 'no'} difference(s)")
            for one in differences:
                click.echo(f"  {one}")
    context.exit(2 if any(differences for _, differences in found) else 0)


async def _check(settings: Settings, tenant: UUID | None) -> list[tuple[Log, list[Difference]]]:
    control.check_runs(settings)
    database = Database(settings.database.recorder, name="portcullis-audit-check", size=1)
    await database.open()
    try:
        async with database.connection() as conn:
            logs = [log for log in await read_logs(conn) if tenant in (None, log.tenant_id)]
        checker = audit_checker(settings, database, SystemClock())
        return [(log, await checker.check(log)) for log in logs]
    finally:
        await database.close()


@audit.command()
@click.option(
    "--out",
    default="verify_portcullis_log.py",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it.",
)
def verifier(out: Path) -> None:
    """Write the verifier as one file for somebody who has nothing of ours.

    It needs Python 3.11 and the package `cryptography`. Its SHA-256 is printed: the same version
    of Portcullis always writes the same bytes.
    """
    data = single_file("audit.verifier", out.name)
    out.write_bytes(data)
    click.echo(f"{out}: {len(data)} bytes, SHA-256 {sha256(data).hexdigest()}")


@audit.command("verify-bundle")
@click.argument("bundle", type=click.File("r"))
@click.option("--vkey-file", required=True, type=click.Path(exists=True, path_type=Path))
@click.pass_context
def verify_one(context: click.Context, bundle: Any, vkey_file: Path) -> None:
    """Verify a BUNDLE that `audit prove` or `audit receipt` wrote. Exit status as for `verify`."""
    try:
        content = json.load(bundle)
    except ValueError as error:
        raise click.ClickException(f"the bundle is not JSON: {error}") from None
    is_receipt = isinstance(content, dict) and content.get("format") == FORMAT
    verify = verify_receipt if is_receipt else verify_bundle
    verdict = verify(content, vkey_file.read_text())
    click.echo(describe(verdict))
    context.exit(verdict.code)


@audit.command()
@click.option("--order", "oid", required=True, help="The order's id (not an attempt's ClOrdID).")
@click.option("--tenant", required=True, type=click.UUID, help="Whose order it is.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    default="-",
    help="Where to write: a file, or standard output; for tlog-proof a directory.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["bundle", "tlog-proof"]),
    default="bundle",
    show_default=True,
    help="One JSON file, or each record and its C2SP tlog-proof@v1 as files.",
)
@click.pass_obj
def prove(file: Path, oid: str, tenant: UUID, out: Path, form: str) -> None:
    """Write one order's records with their proofs, to be opened without our software.

    As tlog-proof: DIRECTORY/<index>.leaf and <index>.tlog-proof, whose `extra` line holds the anchor of
    its checkpoint with the witnesses' cosignatures; the keys in `vkey` and `anchor.vkey`. Get the keys from
    a source you trust before you believe them.
    """
    if form == "tlog-proof" and str(out) == "-":
        raise click.UsageError("--format tlog-proof writes files: name a directory with --out")
    try:
        bundle = asyncio.run(_prove(read_settings(file), TenantID(tenant), oid))
    except Malformed as error:
        raise click.ClickException(str(error)) from None
    if form == "tlog-proof":
        write_tlog_proofs(bundle, out)
        return
    with click.open_file(str(out), "w") as opened:
        json.dump(bundle, opened, indent=2, ensure_ascii=False)
        opened.write("\n")


def write_tlog_proofs(bundle: dict[str, Any], directory: Path) -> None:
    """Each record of an order's bundle as two files, and the keys as two more."""
    directory.mkdir(parents=True, exist_ok=True)
    for record in bundle["records"]:
        (directory / f"{record['i']}.leaf").write_bytes(record["leaf"].encode())
        (directory / f"{record['i']}.tlog-proof").write_bytes(record["proof"].encode())
    (directory / "vkey").write_text(f"{bundle['vkey']}\n")
    if bundle["anchor_vkey"] is not None:
        (directory / "anchor.vkey").write_text(f"{bundle['anchor_vkey']}\n")


@audit.command("verify-proof")
@click.argument("proof", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--leaf", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--vkey-file", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--anchor-vkey-file", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A C2SP tlog-policy file: whose cosignatures are enough.",
)
@click.pass_context
def verify_proof(
    context: click.Context,
    proof: Path,
    leaf: Path,
    vkey_file: Path,
    anchor_vkey_file: Path | None,
    policy: Path | None,
) -> None:
    """Verify one record's tlog-proof PROOF: from its LEAF to its log, its anchor, and its witnesses.

    Needs no database, no HSM and no network. Exit status: 0 verified, 2 tampered, 4 unwitnessed.
    """
    try:
        anchors = parse_keys(anchor_vkey_file.read_text()) if anchor_vkey_file else ()
        rules = parse_policy(policy.read_bytes()) if policy else None
        keys = parse_keys(vkey_file.read_text())
        text = proof.read_bytes().decode()
        found = check_record(leaf.read_bytes(), text, keys, anchors, rules)
    except (Malformed, UnicodeDecodeError) as error:
        click.echo(f"tampered: {error}")
        context.exit(TAMPERED)
    click.echo(f"in {found.head.origin}, {found.head.size} records")
    if found.anchor is not None:
        click.echo(f"anchored in {found.anchor.origin}, {found.anchor.size} anchors")
    if found.quorum is not None:
        click.echo(found.quorum.why())
        context.exit(OK if found.quorum.met else UNWITNESSED)


@audit.command("make-anchor")
@click.pass_obj
def make_anchor(file: Path) -> None:
    """Make the anchor log of an installation that was made before there was one, and print its key.

    Its key is made in the HSM by a ceremony of this host. The recorder begins to write it at once.
    """
    log = asyncio.run(make_anchor_log(read_settings(file)))
    click.echo(str(VerifierKey(log.origin, log.public_key)))


audit.add_command(watch)


async def _prove(settings: Settings, tenant: TenantID, oid: str) -> dict[str, Any]:
    control.check_runs(settings)
    database = Database(settings.database.admin, name="portcullis-audit-prove", size=1)
    await database.open()
    try:
        async with audit_keys(settings, settings.database.admin, "portcullis-audit-prove"):
            return await prove_order(database, operator_scope(tenant), settings.recorder.store, oid)
    finally:
        await database.close()
