"""What changes between two documents, member by member, in words that a second person can judge. Pure.

A document is what JSON has: mappings, lists, text, numbers, booleans, null. A member that is null
and one that is absent are the same here: not set. Lists of plain values are compared as sets with
an order; lists of documents entry by entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

TEXT_MAX_CHARS = 80
"""Of a value in a sentence; `before` and `after` have all of it."""
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One member that changes. `path`: `limits.max_order_quantity`, `symbols["BRK.B"]`, `windows[0].opens`.

    `before`, `after`: as JSON has them; null: not set. `words`: the same as one sentence.
    """

    path: str
    before: Any
    after: Any
    words: str


def difference(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[Difference, ...]:
    """Every member that changes, sorted by name at each level; empty where nothing does.

    None in place of a document: there is none (yet, or any more); then each member is set, or goes.
    """
    return tuple(_of("", before or {}, after or {}))


def _of(path: str, before: Any, after: Any) -> Iterator[Difference]:
    if _is_mapping(before, after):
        before, after = before or {}, after or {}
        for name in sorted(before.keys() | after.keys()):
            yield from _of(_member(path, name), before.get(name), after.get(name))
    elif _is_documents(before, after):
        before, after = before or (), after or ()
        for index in range(max(len(before), len(after))):
            yield from _of(f"{path}[{index}]", _entry(before, index), _entry(after, index))
    elif not _same(before, after):
        yield Difference(
            path=path, before=before, after=after, words=f"{path} {_sentence(before, after)}."
        )


def _is_mapping(before: Any, after: Any) -> bool:
    """Both are documents, or one is and the other is not set."""
    kinds = [isinstance(value, Mapping) for value in (before, after) if value is not None]
    return bool(kinds) and all(kinds)


def _is_documents(before: Any, after: Any) -> bool:
    """Both are lists, and a document is in one of them."""
    values = [value for value in (before, after) if value is not None]
    return all(_is_list(value) for value in values) and any(
        isinstance(entry, Mapping) for value in values for entry in value
    )


def _entry(values: Any, index: int) -> Any:
    return values[index] if index < len(values) else None


def _member(path: str, name: str) -> str:
    if _PLAIN_NAME.fullmatch(name) is None:
        return f"{path}[{_quoted(name)}]"
    return f"{path}.{name}" if path else name


def _same(before: Any, after: Any) -> bool:
    """Compared as JSON is written, where true is not 1."""
    return _written(before) == _written(after)


def _written(value: Any) -> bytes:
    return msgspec.json.encode(None if _is_list(value) and not value else value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _sentence(before: Any, after: Any) -> str:
    if isinstance(after, bool) and isinstance(before, bool | None):
        return "is switched on" if after else "is switched off"
    if isinstance(before, list | tuple | None) and isinstance(after, list | tuple | None):
        return _moved(list(before or ()), list(after or ()))
    if before is None:
        return f"is set to {_text(after)}"
    if after is None:
        return f"is no longer set (it was {_text(before)})"
    return f"changes from {_text(before)} to {_text(after)}"


def _moved(before: list[Any], after: list[Any]) -> str:
    """What a list of plain values gains and loses."""
    gained = [value for value in after if value not in before]
    lost = [value for value in before if value not in after]
    if not gained and not lost:
        return f"changes its order to {_text(after)}"
    parts = [f"gains {_listed(gained)}"] if gained else []
    parts += [f"loses {_listed(lost)}"] if lost else []
    return " and ".join(parts) + ("" if after else ", and is empty then")


def _listed(values: list[Any]) -> str:
    return _cut(", ".join(_text(value) for value in values))


def _text(value: Any) -> str:
    """A value as a person writes it: text that is no number or plain word in quotation marks."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str) and re.fullmatch(r"[\w.:+-]+", value) is None:
        return _cut(_quoted(value))
    if isinstance(value, str | int):
        return _cut(str(value))
    return _cut(msgspec.json.encode(value).decode())


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX_CHARS else text[: TEXT_MAX_CHARS - 1] + "…"
