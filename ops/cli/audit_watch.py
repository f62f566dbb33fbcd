"""`portcullis audit watch`: a tenant's own monitor of its log, on a machine of its own."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import click

from audit import watch as monitor
from audit.malformed import Malformed
from audit.note import VerifierKey, parse_keys
from audit.receipts import parse
from audit.verdict import INCONSISTENT, TAMPERED, Verdict, describe

ALERT_TIMEOUT_S = 10.0


@click.command()
@click.argument("log")
@click.option(
    "--vkey-file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The log's verifier key, from a source you trust (not from LOG itself).",
)
@click.option(
    "--state",
    "state_file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where this monitor keeps what it has proven; made at the first look.",
)
@click.option(
    "--receipts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of receipts (`Portcullis-Receipt` of your answers), one on a line.",
)
@click.option("--merge-delay", default=60.0, show_default=True, help="Seconds a record may take.")
@click.option("--every", default=0.0, help="Look again every so many seconds; without it, once.")
@click.option("--webhook", help="Where an alert is posted to, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each look.")
@click.pass_context
def watch(
    context: click.Context,
    log: str,
    vkey_file: Path,
    state_file: Path,
    receipts: Path | None,
    merge_delay: float,
    every: float,
    webhook: str | None,
    as_json: bool,
) -> None:
    """Follow one LOG (a directory, or an address that serves one) and prove that it only grows.

    Exit status: 0 all is well, 2 tampered, 3 inconsistent (the log contradicts what it showed before),
    5 incomplete (the record of a receipt is missing), 7 the log cannot be read. What is found ends the
    monitor, with --every too; a log that cannot be read is tried again then.
    """
    if webhook is not None and not webhook.startswith(("https://", "http://")):
        raise click.BadParameter("an address that begins with https://", param_hint="--webhook")
    try:
        keys = parse_keys(vkey_file.read_text())
        while True:
            code = _look(log, keys, state_file, receipts, merge_delay, webhook, as_json)
            if not every or code not in (0, monitor.UNREACHABLE):
                context.exit(code)
            time.sleep(every)
    except Malformed as error:
        raise click.ClickException(str(error)) from None


def _look(
    log: str,
    keys: tuple[VerifierKey, ...],
    state_file: Path,
    receipts: Path | None,
    merge_delay_s: float,
    webhook: str | None,
    as_json: bool,
) -> int:
    state = monitor.read_state(state_file)
    read = monitor.reader_of(log)
    held = list(_receipts(receipts))
    try:
        verdict, after = monitor.look(
            read, keys, state, held, now_ns=time.time_ns(), merge_delay_s=merge_delay_s
        )
    except (monitor.Unreachable, OSError) as error:
        click.echo(f"unreachable: {error}", err=True)
        _alert(webhook, {"log": log, "verdict": "unreachable", "why": str(error)})
        return monitor.UNREACHABLE
    monitor.write_state(state_file, after)
    if verdict.code in (TAMPERED, INCONSISTENT):
        kept = monitor.keep_evidence(state_file, state, read("checkpoint") or b"")
        click.echo(f"evidence: {kept}", err=True)
    click.echo(json.dumps(verdict.as_json()) if as_json else _words(verdict))
    if verdict.code:
        _alert(webhook, {"log": log, **verdict.as_json()})
    return verdict.code


def _words(verdict: Verdict) -> str:
    """Of one look: how many orders there are says only a whole verification."""
    return "\n".join(line for line in describe(verdict).split("\n") if " orders, " not in line)


def _receipts(path: Path | None) -> Iterator[tuple[str, int, str]]:
    """Raises Malformed for a line that is none."""
    for line in path.read_text().split() if path else ():
        text = line.strip(",")
        receipt = parse(text)
        yield text, receipt.ts_ns, receipt.pc.hex()


def _alert(webhook: str | None, said: dict[str, object]) -> None:
    if webhook is None:
        return
    body = json.dumps(said).encode()
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(webhook, data=body, headers=kind)  # noqa: S310 - looked at in watch()
    try:
        with urllib.request.urlopen(request, timeout=ALERT_TIMEOUT_S):  # noqa: S310 - likewise
            pass
    except OSError as error:
        click.echo(f"the alert was not taken: {error}", err=True)
