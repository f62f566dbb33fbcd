"""Write TOML: tables, arrays of tables, strings, numbers, booleans; reading is tomllib's and msgspec's.

Only what settings need; anything else is a TypeError, so that nothing is written that would be
read back as something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dumps(document: Mapping[str, Any]) -> str:
    """The document as TOML. None values are left out: TOML has no null."""
    return "\n".join(_table(document, ())).strip() + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    for key, value in table.items():
        if value is not None and not isinstance(value, Mapping) and not _is_tables(value):
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in table.items():
        name = (*path, key)
        dotted = ".".join(_key(part) for part in name)
        if isinstance(value, Mapping):
            header = [] if _is_only_tables(value) else ["", f"[{dotted}]"]
            lines += [*header, *_table(value, name)]
        elif _is_tables(value):
            for item in value:
                lines += ["", f"[[{dotted}]]", *_table(item, name)]
    return lines


def _is_only_tables(table: Mapping[str, Any]) -> bool:
    """Its own header would say nothing, and forbid one where more is written elsewhere."""
    return bool(table) and all(isinstance(value, Mapping) for value in table.values())


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (str, Path)):
        # A JSON string is a TOML basic string, but for DEL, which no path or name of ours holds.
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise TypeError(f"no TOML for {type(value).__name__}")
