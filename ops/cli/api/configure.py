"""`portcullis apply` and `portcullis export`: a whole tenant in one TOML file.

`apply` shows the difference first and applies exactly that: the digest of what it was shown against
goes back in If-Match, so that a change by somebody else in between refuses it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import msgspec

from ops.api_client import Api, Refused, Reply
from ops.cli.api.connection import asked, connection_options, where
from ops.cli.output import json_option, print_json
from ops.tls import write_private
from ops.toml import dumps
from tenancy.errors import Invalid

SIGNS = {"create": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red")}
SHOWN_MOST = 200
_PLACE = re.compile(r"^(\w+)\[(\d+)\]")

HEAD = """\
# A tenant of Portcullis, as `portcullis export` wrote it. `portcullis apply -f FILE` brings a tenant
# to this state and shows the difference first. An object is known by its name (a subscription by
# strategy and account, a hook by strategy and name); a member that is absent has its default. What
# the file does not mention is left alone, unless --prune is given. Amounts are text, to the last
# digit. Secrets, credentials and halts are not in it.
"""


@click.command()
@click.option(
    "-f",
    "--file",
    "source",
    required=True,
    help="The TOML file; - is standard input.",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
)
@click.option("--prune", is_flag=True, help="Archive what the file does not mention.")
@click.option(
    "--dry-run", is_flag=True, help="Only show the difference. Exit status 1 where there is one."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--reason", default="", help="Why; kept with every change.")
@json_option
@connection_options
@click.pass_obj
def apply(
    settings: Path, source: Path, prune: bool, dry_run: bool, yes: bool, reason: str,
    as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Bring the tenant to the state that a file declares: all of it, or nothing.

    \b
    Examples:
      portcullis apply -f tenant.toml
      portcullis apply -f tenant.toml --prune --yes --reason 'release 12'
    """
    text = sys.stdin.read() if str(source) == "-" else source.read_text()
    document = read_document(text, str(source))
    place = where(settings, given)
    query = {"prune": True} if prune else {}
    try:
        seen = asked(place, lambda api: compared(api, document, query))
        if as_json and (dry_run or not seen["changes"]):
            print_json(seen)
        elif not as_json or not yes:
            show_difference(seen)
        if dry_run or not seen["changes"]:
            sys.exit(1 if seen["changes"] else 0)
        if not yes:
            click.confirm(_question(seen), abort=True, err=as_json)
        reply = asked(place, lambda api: applied(api, document, query, seen["digest"], reason))
    except Refused as error:
        raise _in_the_file(error, text, source) from None
    if as_json:
        print_json(reply.content)
    elif reply.proposal is not None:
        click.echo(
            "This waits for a second person: nothing has changed yet.\n"
            f"See it with: portcullis proposal show {reply.proposal}"
        )
    else:
        click.echo(f"applied: {_counted(reply.content['changes'])}")
        begun = [one["name"] for one in reply.content["changes"]
                 if (one["verb"], one["kind"]) == ("create", "hook")]  # fmt: skip
        for name in begun:
            click.echo(
                f"hook {name} has no secret yet: portcullis hook create-secret HOOK --out FILE"
            )


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file; else to standard output.",
)
@json_option
@connection_options
@click.pass_obj
def export(settings: Path, output: Path | None, as_json: bool, **given: Any) -> None:
    """Write the whole tenant as a file that `portcullis apply` takes.

    \b
    Example:
      portcullis export -o tenant.toml
    """
    document = asked(where(settings, given), lambda api: api.get("/v1/configuration"))
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(document)).decode() + "\n"
    else:
        text = HEAD + "\n" + dumps(document)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_private(output, text.encode())
        click.echo(f"written: {output}")


def read_document(text: str, name: str) -> dict[str, Any]:
    """The file as the API takes it: amounts that were written as numbers stay what was written.

    Raises Invalid where it is no TOML.
    """
    try:
        return tomllib.loads(text, parse_float=_amount)
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{name} is not TOML: {error}") from None


def _amount(text: str) -> Decimal:
    number = Decimal(text.replace("_", ""))
    if not number.is_finite():
        raise Invalid(f"{text} is no amount")
    return number


async def compared(api: Api, document: Any, query: dict[str, Any]) -> Any:
    """What the document would change: `changes`, `digest`, `second_person`."""
    reply = await api.ask("POST", "/v1/configuration/difference", document, query=query)
    return reply.content


async def applied(
    api: Api, document: Any, query: dict[str, Any], digest: str, why: str = ""
) -> Reply:
    """Bring it about, where the configuration is still the one of `digest`."""
    return await api.ask(
        "PUT", "/v1/configuration", document, query=query, if_match=f'"{digest}"', why=why
    )


def show_difference(seen: Any) -> None:
    """Object by object, member by member."""
    changes = seen["changes"]
    if not changes:
        click.echo("no difference: the tenant is as the file says")
        return
    for one in changes[:SHOWN_MOST]:
        sign, colour = SIGNS[one["verb"]]
        click.secho(f"{sign} {one['kind']} {one['name']}", fg=colour)
        for member in one["members"] if one["verb"] == "change" else ():
            click.echo(f"    {member['words']}")
    if len(changes) > SHOWN_MOST:
        click.echo(f"… and {len(changes) - SHOWN_MOST} more; --json --dry-run shows all")
    click.echo(_counted(changes))


def _counted(changes: Any) -> str:
    words = {"create": "made", "change": "changed", "remove": "archived"}
    counts = {verb: sum(1 for one in changes if one["verb"] == verb) for verb in words}
    return (
        ", ".join(f"{count} {words[verb]}" for verb, count in counts.items() if count) or "nothing"
    )


def _question(seen: Any) -> str:
    if seen["second_person"]:
        asked_for = ", ".join(seen["second_person"])
        return f"A second person has to agree ({asked_for}). Propose this?"
    return "Apply this?"


def _in_the_file(error: Refused, text: str, source: Path) -> Refused:
    """The same refusal, with the line of the file where its entry begins."""
    found = _PLACE.match(error.problem.field or "")
    if found is None:
        return error
    line = line_of(text, found[1], int(found[2]))
    if line is None:
        return error
    detail = f"{source}, line {line}: {error.problem.detail}"
    return Refused(msgspec.structs.replace(error.problem, detail=detail))


def line_of(text: str, section: str, index: int) -> int | None:
    """The line on which the entry with this index begins, where entries are `[[section]]` tables."""
    head = re.compile(rf"^\s*\[\[\s*{re.escape(section)}\s*\]\]")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if head.match(line)]
    return lines[index] if index < len(lines) else None
