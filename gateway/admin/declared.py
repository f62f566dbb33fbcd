"""A whole tenant as one document: its sections, whose entries refer to each other by name. Pure.

An entry is the document of its kind (gateway/admin/strategies.py and the others) with names in
place of ids: its type is made from the document's, so a member that a document gains is in the
file too. What is no setting is not in it: secrets, credentials, people and keys, trading states,
archived objects.

An object is known by its name (a subscription by strategy and account, a hook by strategy and
name): another name is another object. An entry says its object whole: a member that is absent has
its default. What has no entry is left alone, unless the rest is to be archived (`prune`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from gateway.admin.accounts import ACCOUNT
from gateway.admin.changes import ObjectKind
from gateway.admin.channels import CHANNEL
from gateway.admin.groups import GROUP
from gateway.admin.hooks import HOOK
from gateway.admin.strategies import STRATEGY
from gateway.admin.subscriptions import SUBSCRIPTION
from gateway.admin.tenants import TENANT
from tenancy.values import Name

Key = tuple[str, ...]
"""What an object is called in its section."""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """The entries of one kind. `refers`: member of the document → (member of the entry, section).

    `key`: the entry's members that name it; empty where there is exactly one, which is a table and no
    list (the tenant itself). `action`: what a change of it needs. `kept`: members that a file does
    not say, and leaves as they are.
    """

    name: str
    kind: ObjectKind[Any]
    entry: Any
    key: Key
    action: str
    refers: Mapping[str, tuple[str, str]] = {}
    kept: frozenset[str] = frozenset()

    @property
    def single(self) -> bool:
        return not self.key

    def key_of(self, entry: Any) -> Key:
        return tuple(getattr(entry, member) for member in self.key) or (self.name,)

    def place_of(self, index: int) -> str:
        """Where the entry with this index stands in the document."""
        return self.name if self.single else f"{self.name}[{index}]"

    def entry_of(self, document: Any, names: Mapping[str, Mapping[str, Key]]) -> Any:
        """The entry that says this document. `names`: section → id → key."""
        fields: dict[str, Any] = {}
        for member in document.__struct_fields__:
            value = getattr(document, member)
            if member in self.kept:
                continue
            if member in self.refers:
                member, section = self.refers[member]
                value = None if value is None else names[section][str(value)][0]
            fields[member] = value
        return tidy(self.entry(**fields))

    def document_of(
        self, entry: Any, ids: Mapping[str, Mapping[Key, UUID | str]], before: Any
    ) -> Any:
        """The document that this entry says; every name it refers to is in `ids`.

        `before`: the document as it is, None where there is none yet.

        Raises msgspec.ValidationError, ValueError where the document's own check refuses it.
        """
        kind = self.kind.table.document
        fields: dict[str, Any] = {}
        for member in kind.__struct_fields__:
            if member in self.refers:
                shown, section = self.refers[member]
                name = getattr(entry, shown)
                fields[member] = None if name is None else msgspec.convert(
                    ids[section][(name,)], _field_type(kind, member), strict=False
                )  # fmt: skip
            else:
                fields[member] = getattr(before if member in self.kept else entry, member)
        return kind(**fields)


def tidy(entry: Any) -> Any:
    """The same entry, whose members that have their default's value are the default, and so left out."""
    plain = {
        field.name: field.default
        for field in msgspec.structs.fields(entry)
        if field.default is not msgspec.NODEFAULT and getattr(entry, field.name) == field.default
    }
    return msgspec.structs.replace(entry, **plain)


def _field_type(kind: Any, member: str) -> Any:
    return next(f.type for f in msgspec.structs.fields(kind) if f.name == member)


def _entry(
    name: str,
    kind: ObjectKind[Any],
    refers: Mapping[str, tuple[str, str]],
    kept: frozenset[str],
) -> Any:
    """The type of a section's entries: the document's, with names in place of ids."""
    document = kind.table.document
    fields: list[Any] = []
    for field in msgspec.structs.fields(document):
        if field.name in kept:
            continue
        if field.name in refers:
            shown = refers[field.name][0]
            fields.append((shown, Name) if field.required else (shown, Name | None, None))
        elif field.required:
            fields.append((field.name, field.type))
        elif field.default is not msgspec.NODEFAULT:
            fields.append((field.name, field.type, field.default))
        else:
            made = msgspec.field(default_factory=field.default_factory)
            fields.append((field.name, field.type, made))
    return msgspec.defstruct(
        name, fields, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True,
        namespace={"__doc__": f"One {kind.table.noun}, by name."},
    )  # fmt: skip


def _section(
    name: str,
    kind: ObjectKind[Any],
    action: str,
    key: Key,
    refers: Mapping[str, tuple[str, str]] | None = None,
    kept: frozenset[str] = frozenset(),
) -> Section:
    refers = refers or {}
    return Section(
        name=name, kind=kind, key=key, action=action, refers=refers, kept=kept,
        entry=_entry(f"Declared{kind.name.title()}", kind, refers, kept),
    )  # fmt: skip


_STRATEGY = {"strategy_id": ("strategy", "strategies")}

SECTIONS: tuple[Section, ...] = (
    _section("tenant", TENANT, "tenant:write", (), kept=frozenset({"name"})),
    _section("strategies", STRATEGY, "strategies:write", ("name",)),
    _section("groups", GROUP, "accounts:write", ("name",)),
    _section(
        "accounts", ACCOUNT, "accounts:write", ("name",), {"group_id": ("group", "groups")}
    ),
    _section(
        "subscriptions", SUBSCRIPTION, "subscriptions:write", ("strategy", "account"),
        {**_STRATEGY, "account_id": ("account", "accounts")},
    ),
    _section("hooks", HOOK, "hooks:write", ("strategy", "name"), _STRATEGY),
    _section("channels", CHANNEL, "channels:write", ("name",)),
)  # fmt: skip
"""In the order in which they are made: what refers comes after what it refers to."""

BY_NAME: Mapping[str, Section] = {section.name: section for section in SECTIONS}

Configuration: Any = msgspec.defstruct(
    "Configuration",
    [
        (section.name, section.entry | msgspec.UnsetType, msgspec.UNSET)
        if section.single
        else (section.name, list[section.entry], msgspec.field(default_factory=list))  # type: ignore[name-defined]
        for section in SECTIONS
    ],
    frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True,
    namespace={"__doc__": "A tenant as its administrators set it up; objects refer by name."},
)  # fmt: skip


def entries(configuration: Any, section: Section) -> Sequence[Any]:
    """The entries of one section."""
    found = getattr(configuration, section.name)
    if section.single:
        return [] if found is msgspec.UNSET else [found]
    return list(found)


def configuration_of(sections: Mapping[str, Sequence[Any]]) -> Any:
    """The document with these entries."""
    made: dict[str, Any] = {}
    for section in SECTIONS:
        found = list(sections[section.name])
        made[section.name] = (found[0] if found else msgspec.UNSET) if section.single else found
    return Configuration(**made)


def called(key: Key) -> str:
    """A key as people read it."""
    return " / ".join(part or '""' for part in key)


def digest(configuration: Any) -> str:
    """The ETag: SHA-256 (RFC 9110 asks only that it differs when the configuration does)."""
    return hashlib.sha256(msgspec.json.encode(configuration, order="deterministic")).hexdigest()
