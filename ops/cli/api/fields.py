"""From a body's type to options, and from what was typed back to a body.

A member that is a document of its own (`settings`, `limits`) is opened: its members are options
themselves. What has no shape on a command line (a map, a list of windows) is given as JSON. The
values are not judged here: the API does, and says where.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import inspect

from tenancy.errors import UNREADABLE, Invalid
from tenancy.values import exact

HELP = {
    "default_quantity": "What a signal without a quantity trades.",
    "override_quantity": "What is traded in place of the signal's quantity; with multiplier: times it.",
    "use_signal_quantity": "Whether the signal's quantity counts.",
    "sequence": "In which order the accounts trade.",
    "stated_equity": "Where the broker reports none.",
    "over_limit": "What is over a limit: cut to it, or skipped.",
    "price_collar_percent": "How far from the market a limit price may be.",
    "sources": "Networks that it may come from, such as 10.0.0.0/8.",
    "scopes": "Actions that it may do; `portcullis key scopes` lists them.",
    "four_eyes": "What needs a second person.",
    "clock_tier": "How near UTC the clock must be.",
    "clock_stops": "Whether nothing is opened while it is not.",
    "on_drift": "What is done when our book and the broker's differ.",
    "correct_manual_orders": "Whether what was traded by hand is put right, too.",
    "priority": "The lower, the earlier in a fixed sequence.",
    "archived": "Archived ones too.",
}
Complete = Callable[[str], Callable[..., Any] | None]


class Amount(click.ParamType):
    """A decimal number, to the last digit."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        try:
            return exact(value, param.name if param and param.name else "value")
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Json(click.ParamType):
    """Anything, as JSON."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            self.fail(f"{value!r} is not JSON: {error}", param, ctx)


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One option. `path`: where its value goes in the body; `refers`: it names an object by id."""

    name: str
    path: tuple[str, ...]
    type: Any
    required: bool
    refers: bool = False

    @property
    def flag(self) -> str:
        name = self.name.removesuffix("_id") if self.refers else self.name
        return name.replace("_", "-")

    @property
    def parameter(self) -> str:
        """Under which click keeps the option's value."""
        return "__".join(("body", *self.path))


RESERVED = frozenset(
    {
        "url", "key-file", "ca", "as", "json", "from", "force", "out", "yes", "unset", "limit",
        "help", "reason",
    }
)  # fmt: skip
"""What every command means by itself."""


def members(kind: Any, group: str = "") -> list[Member]:
    """The options of a body of type `kind`, in the order of its members.

    One whose name is taken says what it belongs to: `--channel-url`.
    """
    if kind is None:
        return []
    found: list[Member] = []
    for member in _members(inspect.type_info(kind), ()):
        if any(member.name == other.name for other in found):
            member = msgspec.structs.replace(member, name="_".join(member.path))
        if member.flag in RESERVED and member.path != ("reason",):
            member = msgspec.structs.replace(member, name=f"{group}_{member.name}".lstrip("_"))
        found.append(member)
    return found


def _members(kind: Any, path: tuple[str, ...]) -> Iterator[Member]:
    for field in kind.fields:
        one, _ = _bare(field.type)
        where = (*path, field.encode_name)
        inside = isinstance(field.type, inspect.StructType) or not path
        if isinstance(one, inspect.StructType) and inside and _opens(one):
            yield from _members(one, where)
        else:
            yield Member(
                name=field.encode_name, path=where, type=field.type,
                required=field.required and not path,
                refers=isinstance(one, inspect.UUIDType | inspect.StrType)
                and field.encode_name.endswith("_id"),
            )  # fmt: skip


def _opens(kind: inspect.StructType) -> bool:
    """Whether a document's members are options: those of settings and limits are, a stop loss is JSON."""
    name: str = kind.cls.__name__
    return name.endswith(("Settings", "Limits"))


def _bare(kind: Any) -> tuple[Any, bool]:
    """The type without null and unset, and whether it had null."""
    if isinstance(kind, inspect.Metadata):
        return _bare(kind.type)
    if isinstance(kind, inspect.UnionType):
        rest = [t for t in kind.types if not isinstance(t, inspect.NoneType)]
        rest = [t for t in rest if type(t).__name__ != "UnsetType"]
        null = any(isinstance(t, inspect.NoneType) for t in kind.types)
        return (_bare(rest[0])[0] if len(rest) == 1 else None), null
    return kind, False


def option(member: Member, complete: Complete, *, required: bool = False) -> click.Option:
    """The option of one member; absent unless given."""
    one, _ = _bare(member.type)
    help_text = HELP.get(member.name)
    flag = f"--{member.flag}"
    settings: dict[str, Any] = {"help": help_text, "default": None, "required": required}
    if isinstance(one, inspect.BoolType):
        return click.Option([f"{flag}/--no-{member.flag}", member.parameter], **settings)
    if isinstance(
        one, inspect.VarTupleType | inspect.ListType | inspect.SetType | inspect.FrozenSetType
    ):
        item, _ = _bare(one.item_type)
        if isinstance(item, inspect.StrType | inspect.LiteralType | inspect.UUIDType):
            settings |= {"multiple": True, "type": _scalar(item)}
            settings["help"] = f"{help_text or ''} May be repeated.".strip()
            return click.Option([flag, member.parameter], **settings)
        return click.Option([flag, member.parameter], type=Json(), **settings)
    if member.refers:
        settings["help"] = help_text or "By name or id."
        settings["shell_complete"] = complete(member.name)
        return click.Option([flag, member.parameter], metavar="NAME|ID", **settings)
    return click.Option([flag, member.parameter], type=_scalar(one), **settings)


def _scalar(kind: Any) -> Any:
    if isinstance(kind, inspect.LiteralType):
        return click.Choice([str(value) for value in kind.values])
    if isinstance(kind, inspect.IntType):
        return click.INT
    if isinstance(kind, inspect.DecimalType | inspect.FloatType):
        return Amount()
    if isinstance(
        kind, inspect.StrType | inspect.UUIDType | inspect.DateTimeType | inspect.DateType
    ):
        return click.STRING
    return Json()


def body(
    kinds: list[Member], given: Mapping[str, Any], start: Any = None, unset: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The body that was typed: `start` (from a file), then options, then what is taken away."""
    made: dict[str, Any] = dict(start or {})
    for member in kinds:
        value = given.get(member.parameter)
        if value is not None and value != ():
            _put(made, member.path, list(value) if isinstance(value, tuple) else value)
    for name in unset:
        member = _named(kinds, name)
        _put(made, member.path, None)
    return made


def _named(kinds: list[Member], name: str) -> Member:
    wanted = name.replace("-", "_")
    for member in kinds:
        if wanted in (member.name, ".".join(member.path), member.flag.replace("-", "_")):
            return member
    known = ", ".join(sorted(member.flag for member in kinds if not member.required))
    raise Invalid(f"--unset {name}: there is no such member; there is {known}")


def _put(made: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for name in path[:-1]:
        inner = made.get(name)
        made[name] = inner = dict(inner) if isinstance(inner, Mapping) else {}
        made = inner
    made[path[-1]] = value


def read_start(path: Path | None) -> Any:
    """A body from a file of JSON; `-` is standard input. Raises Invalid."""
    if path is None:
        return None
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
        start: Any = msgspec.json.decode(text)
    except OSError as error:
        raise Invalid(f"--from {path}: {error.strerror}") from None
    except UNREADABLE as error:
        raise Invalid(f"--from {path} is not JSON: {error}") from None
    if not isinstance(start, dict):
        raise Invalid(f"--from {path}: a JSON object is needed")
    return start
