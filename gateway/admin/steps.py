"""From a tenant as it is and a tenant as somebody wants it to the steps between: begin, change, end. Pure.

Everything that is wrong with a file's references is told at once, each with its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from gateway.admin.changes import plain
from gateway.admin.declared import SECTIONS, Key, Section, called, entries
from gateway.admin.errors import Malformed
from tenancy.difference import Difference, difference
from tenancy.store.documents import Stored

TOLD_MOST = 20
"""Of what is wrong with one file."""


class Standing(msgspec.Struct, frozen=True):
    """An object as it is: its row, and the entry that says it."""

    stored: Stored[Any]
    entry: Any


Tenant = Mapping[str, Mapping[Key, Standing]]
"""A tenant as it is: section → key → object, in the order of the document."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One object that begins, changes or ends. `place`: where the file says so; "" where it ends."""

    section: Section
    key: Key
    place: str
    standing: Standing | None
    entry: Any

    @property
    def before(self) -> dict[str, Any] | None:
        return plain(self.standing.entry) if self.standing is not None else None

    @property
    def after(self) -> dict[str, Any] | None:
        return plain(self.entry)


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """One object that the document would change. `place`: where it stands in the document.

    `members` are the ones that change, each with its value before and after.
    """

    verb: Literal["create", "change", "remove"]
    kind: str
    name: str
    place: str
    members: list[Difference]


def shown(step: Step) -> Changed:
    """As the API shows it."""
    verb: Literal["create", "change", "remove"] = "change"
    if step.standing is None or step.entry is None:
        verb = "create" if step.standing is None else "remove"
    return Changed(
        verb=verb, kind=step.section.kind.name, name=called(step.key), place=step.place,
        members=list(difference(step.before, step.after)),
    )  # fmt: skip


def steps(now: Tenant, wanted: Any, *, prune: bool) -> list[Step]:
    """What lies between, in the order in which it can be done: begin and change, then end backwards.

    Raises Malformed: an object that is in the document twice, or refers to none.
    """
    placed = {section.name: _placed(section, wanted) for section in SECTIONS}
    _check(now, wanted, placed, prune=prune)
    found: list[Step] = []
    for section in SECTIONS:
        for key, (place, entry) in placed[section.name].items():
            standing = now[section.name].get(key)
            if standing is None or standing.entry != entry:
                entry = entry if standing is None else _like(entry, standing.entry)
                found.append(
                    Step(section=section, key=key, place=place, standing=standing, entry=entry)
                )
    for section in reversed(SECTIONS) if prune else ():
        if section.single:
            continue
        for key, standing in now[section.name].items():
            if key not in placed[section.name]:
                found.append(
                    Step(section=section, key=key, place="", standing=standing, entry=None)
                )
    return found


def _like(entry: Any, other: Any) -> Any:
    """The same entry, written as the other one where both say the same (2.50 and 2.5)."""
    written: dict[str, Any] = {}
    for name in entry.__struct_fields__:
        own, there = getattr(entry, name), getattr(other, name)
        if own == there:
            written[name] = there
        elif isinstance(own, msgspec.Struct) and type(own) is type(there):
            written[name] = _like(own, there)
    return msgspec.structs.replace(entry, **written)


def _placed(section: Section, wanted: Any) -> dict[Key, tuple[str, Any]]:
    """The first entry of each key, with its place."""
    found: dict[Key, tuple[str, Any]] = {}
    for index, entry in enumerate(entries(wanted, section)):
        found.setdefault(section.key_of(entry), (section.place_of(index), entry))
    return found


def _check(
    now: Tenant,
    wanted: Any,
    placed: Mapping[str, Mapping[Key, tuple[str, Any]]],
    *,
    prune: bool,
) -> None:
    wrong: list[tuple[str, str]] = []
    for section in SECTIONS:
        first = placed[section.name]
        for index, entry in enumerate(entries(wanted, section)):
            place, key = section.place_of(index), section.key_of(entry)
            if first[key][0] != place:
                noun = section.kind.table.noun
                wrong.append((place, f"the {noun} {called(key)} is in {first[key][0]} already"))
            for member, target in section.refers.values():
                name = getattr(entry, member)
                there = name is None or (name,) in placed[target]
                if not there and (prune or (name,) not in now[target]):
                    known = _near(name, [*placed[target], *(() if prune else now[target])])
                    wrong.append((f"{place}.{member}", f"there is no {member} {name!r}{known}"))
    if wrong:
        told = [f"{place}: {text}" for place, text in wrong[:TOLD_MOST]]
        if len(wrong) > TOLD_MOST:
            told.append(f"and {len(wrong) - TOLD_MOST} more")
        raise Malformed("; ".join(told), field=wrong[0][0])


def _near(name: str, keys: Iterable[Key]) -> str:
    """What was perhaps meant: the same but for case and blanks."""

    def bare(text: str) -> str:
        return "".join(text.split()).casefold()

    near = sorted({key[0] for key in keys if bare(key[0]) == bare(name)})
    return f"; there is {near[0]!r}" if near else ""
