"""From an operation of the API to a command: its arguments, its options, its help, and what it does.

A change of something that others may change too reads it first and sends its ETag in If-Match, so
that of two people who change at once the second is told; --force overwrites whatever is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.admin.operation import Operation
from gateway.admin.operations import OPERATIONS
from ops.api_client import Api, Reply
from ops.cli.api import names, naming
from ops.cli.api.completion import completes
from ops.cli.api.connection import asked, connection_options, where
from ops.cli.api.fields import Member, body, members, option, read_start
from ops.cli.api.show import show_items, show_object, show_reply
from ops.cli.output import json_option, print_json

_PARAMETER = re.compile(r"\{(\w+)\}")
LIMIT = 50


class Shape:
    """What one operation's command has."""

    def __init__(self, operation: Operation, place: naming.Place) -> None:
        self.operation = operation
        self.place = place
        self.path = _PARAMETER.findall(operation.path)
        self.body: list[Member] = members(operation.body or operation.merge_patch, place.group)
        self.query = [
            m for m in members(operation.query, place.group) if m.path[0] not in ("limit", "cursor")
        ]
        self.pages = operation.query is not None and "cursor" in operation.query.__struct_fields__
        self.named = operation.method == "POST" and any(m.path == ("name",) for m in self.body)
        self.asks = naming.asks(operation, place.command)
        self.summary = naming.summary(operation, place)


def command(operation: Operation, place: naming.Place) -> click.Command:
    """The command of one operation."""
    shape = Shape(operation, place)

    @click.pass_obj
    def run(settings: Path, **given: Any) -> None:
        _run(shape, settings, given)

    made: Callable[..., Any] = connection_options(json_option(run))
    result = click.command(place.command, help=_help(shape), short_help=shape.summary)(made)
    result.params = [*_arguments(shape), *_options(shape), *result.params]
    return result


def group_commands(
    group: str, operations: tuple[Operation, ...] = OPERATIONS
) -> list[click.Command]:
    """Every command that the API gives to a group, in its order."""
    found = [(operation, naming.place(operation)) for operation in operations]
    return [command(op, place) for op, place in found if place is not None and place.group == group]


def _arguments(shape: Shape) -> list[click.Parameter]:
    made: list[click.Parameter] = [
        click.Argument([name], metavar=name.removesuffix("_id").upper(),
                       shell_complete=completes(name))
        for name in shape.path
    ]  # fmt: skip
    if shape.named:
        made.append(click.Argument(["body__name"], metavar="NAME", required=False))
    return made


def _options(shape: Shape) -> list[click.Option]:
    operation = shape.operation
    patch = operation.merge_patch is not None
    made = [option(m, completes) for m in shape.query]
    made += [
        option(m, completes) for m in shape.body if not (shape.named and m.path == ("name",))
    ]  # fmt: skip
    if shape.pages:
        made.append(click.Option(["--limit", "most"], type=click.IntRange(1), default=LIMIT,
                                 show_default=True, help="At most so many."))  # fmt: skip
    if shape.body:
        made.append(click.Option(["--from", "start"], type=click.Path(path_type=Path, allow_dash=True),
                                 help="Begin with a JSON object from a file (- is standard input)."))  # fmt: skip
    if patch:
        made.append(click.Option(["--unset"], multiple=True,
                                 help="Take a member away: it is inherited again. May be repeated."))  # fmt: skip
    if operation.conditional:
        made.append(click.Option(["--force"], is_flag=True,
                                 help="Whatever somebody else changed meanwhile."))  # fmt: skip
    if operation.changes and not any(m.path == ("reason",) for m in shape.body):
        made.append(click.Option(["--reason"], default="", help="Why; kept with the change."))
    if operation.shows_once:
        made.append(click.Option(["--out"], type=click.Path(path_type=Path, dir_okay=False),
                                 help="Write what is shown once into this file (0600)."))  # fmt: skip
    if operation.media:
        made.append(click.Option(["-o", "--output"], type=click.Path(path_type=Path, dir_okay=False),
                                 help="Write the answer into this file."))  # fmt: skip
    if shape.asks:
        made.append(click.Option(["--yes"], is_flag=True, help="Do not ask."))
    return made


def _help(shape: Shape) -> str:
    operation = shape.operation
    text = shape.summary
    if operation.detail:
        text += f"\n\n{operation.detail}"
    if operation.action not in (None, "self"):
        text += f"\n\nNeeds {operation.action}."
    example = naming.EXAMPLES.get(operation.name)
    return text + (f"\n\n\b\nExample:\n  {example}" if example else "")


def _run(shape: Shape, settings: Path, given: dict[str, Any]) -> None:
    place = where(settings, given, platform=shape.operation.platform)
    as_json = given.pop("as_json")
    if shape.asks and not given.pop("yes"):
        what = " ".join(str(given[name]) for name in shape.path)
        click.confirm(f"{shape.place.group} {shape.place.command} {what}: really?", abort=True)
    if shape.operation.stream:
        asked(place, lambda api: _follow(api, shape, given))
    elif shape.pages:
        items = asked(place, lambda api: _pages(api, shape, given))
        if as_json:
            print_json(items)
        else:
            show_items(items, naming.columns(shape.place))
    else:
        reply = asked(place, lambda api: _one(api, shape, given))
        if shape.operation.media and _written(reply, given.get("output")):
            return
        _show(shape, reply, as_json, given.get("out"))


def _show(shape: Shape, reply: Reply, as_json: bool, out: Path | None) -> None:
    if shape.operation.changes or reply.status == 202:
        show_reply(reply, as_json=as_json, once=shape.operation.shows_once, out=out)
    elif as_json or not isinstance(reply.content, dict):
        print_json(reply.content)
    elif isinstance(reply.content.get("items"), list) and shape.place.command.startswith("list"):
        show_items(reply.content["items"], naming.columns(shape.place))
    else:
        show_object(reply.content)


def _written(reply: Reply, output: Path | None) -> bool:
    """Whether the answer is done with: in the file, or on the screen as the text that it is."""
    text = isinstance(reply.content, str)
    if output is None and text:
        click.echo(reply.content, nl=False)
    elif output is not None:
        content = reply.content.encode() if text else msgspec.json.encode(reply.content)
        output.write_bytes(content)
        click.echo(f"in {output}")
    return text or output is not None


async def _follow(api: Api, shape: Shape, given: dict[str, Any]) -> None:
    """Print a stream of events, one JSON object a line, until Ctrl-C."""
    address = await _address(api, shape, given)
    async for line in api.lines(address, **await _query(api, shape, given)):
        if line.startswith("data:"):
            click.echo(line.removeprefix("data:").strip())


async def _pages(api: Api, shape: Shape, given: dict[str, Any]) -> list[dict[str, Any]]:
    most, found = given["most"], []
    address = await _address(api, shape, given)
    async for item in api.items(address, **await _query(api, shape, given)):
        found.append(item)
        if len(found) == most:
            break
    return found


async def _one(api: Api, shape: Shape, given: dict[str, Any]) -> Reply:
    operation = shape.operation
    address = await _address(api, shape, given)
    content = None
    if shape.body or operation.body is not None or operation.merge_patch is not None:
        given = await _with_ids(api, shape.body, given)
        content = body(shape.body, given, read_start(given.get("start")), given.get("unset", ()))
        if operation.merge_patch is not None and not content:
            raise click.UsageError("nothing to change: say which member, or --unset one")
    if_match = ""
    if operation.conditional:
        if_match = "*" if given["force"] else await _etag(api, operation, address)
    return await api.ask(
        operation.method, address, content, query=await _query(api, shape, given),
        if_match=if_match, why=given.get("reason") or given.get("body__reason") or "",
    )  # fmt: skip


async def _address(api: Api, shape: Shape, given: dict[str, Any]) -> str:
    address = shape.operation.path
    for name in shape.path:
        found = await names.identify(api, name, given[name])
        address = address.replace(f"{{{name}}}", found)
    return address


async def _query(api: Api, shape: Shape, given: dict[str, Any]) -> dict[str, Any]:
    with_ids = await _with_ids(api, shape.query, given)
    made = {m.name: with_ids.get(m.parameter) for m in shape.query}
    return {n: ",".join(v) if isinstance(v, tuple) else v for n, v in made.items() if v != ()}


async def _with_ids(api: Api, kinds: list[Member], given: dict[str, Any]) -> dict[str, Any]:
    """The same, where objects are named by id."""
    made = dict(given)
    for member in kinds:
        said = made.get(member.parameter)
        if member.refers and said:
            made[member.parameter] = await names.identify(api, member.path[-1], said)
    return made


async def _etag(api: Api, operation: Operation, address: str) -> str:
    """The ETag of what the change is of: the longest address above it that can be read."""
    readable = {op.path for op in OPERATIONS if op.method == "GET"}
    pattern, real = operation.path, address
    while pattern not in readable:
        pattern, real = pattern.rpartition("/")[0], real.rpartition("/")[0]
        if pattern in ("", "/v1"):
            return "*"
    return (await api.ask("GET", real)).etag or "*"
