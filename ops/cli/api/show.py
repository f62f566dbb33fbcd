"""What the API answered, for people: tables, one object member by member, what waits, what is shown once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from ops.api_client import Reply
from ops.cli.output import print_json, print_table
from ops.tls import write_private

COLUMNS_MOST = 8


def show_items(items: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """A table of these columns; a column that no item has is left out."""
    if not items:
        click.echo("none")
        return
    there = [name for name in columns if any(name in item for item in items)]
    if not there:
        there = [n for n, v in items[0].items() if not isinstance(v, dict | list)][:COLUMNS_MOST]
    print_table(there, [[text(item.get(name)) for name in there] for item in items])


def show_object(item: Mapping[str, Any]) -> None:
    """Every member; documents inside are opened, lists of documents are tables of their own."""
    tables: list[tuple[str, list[Any]]] = []
    rows = list(_rows("", item, tables))
    print_table(("member", "value"), rows)
    for name, items in tables:
        print_table(
            [column for column in items[0] if not isinstance(items[0][column], dict | list)],
            [[text(one.get(c)) for c in items[0] if not isinstance(items[0][c], dict | list)]
             for one in items],
            title=name,
        )  # fmt: skip


def _rows(
    path: str, item: Mapping[str, Any], tables: list[tuple[str, list[Any]]]
) -> Iterable[tuple[str, str]]:
    for name, value in item.items():
        where = f"{path}.{name}" if path else name
        if isinstance(value, Mapping) and value:
            yield from _rows(where, value, tables)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            tables.append((where, value))
        else:
            yield where, text(value)


def text(value: Any) -> str:
    """A value in a cell."""
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(text(one) for one in value)
    if isinstance(value, dict):
        if value.keys() == {"kind", "id"}:
            return f"{value['kind']} {value['id']}"
        return msgspec.json.encode(value).decode()
    return str(value)


def show_reply(
    reply: Reply,
    *,
    as_json: bool,
    once: Sequence[str] = (),
    out: Path | None = None,
    meanwhile: str = "nothing has changed yet",
) -> None:
    """An answer to a change. What is shown once goes into `out` where there is one, else onto the screen.
    `meanwhile`: what holds until a second person has answered."""
    content = reply.content
    if isinstance(content, dict) and out is not None:
        _keep_once(content, once, out)
    if as_json:
        print_json(content)
        return
    if reply.proposal is not None:
        click.echo(
            f"This waits for a second person: {meanwhile}.\n"
            f"proposal {reply.proposal}\n"
            f"See it with: portcullis proposal show {reply.proposal}"
        )
        return
    if content is None:
        click.echo("done")
    elif isinstance(content, dict):
        shown = {name: content.pop(name) for name in once if content.get(name)}
        show_object(content)
        for name, value in shown.items():
            click.echo(f"{name}, shown this once:\n{value}")
    else:
        click.echo(content)


def _keep_once(content: dict[str, Any], once: Sequence[str], out: Path) -> None:
    secrets = {name: content[name] for name in once if content.get(name)}
    if not secrets:
        return
    write_private(out, ("\n".join(secrets.values()) + "\n").encode())
    for name in secrets:
        content[name] = f"in {out}"
