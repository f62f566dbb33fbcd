"""Settings of one installation made to fit another directory: text in, text out. Pure.

What names the old `var` or its runtime directory names the new ones; comments and everything else stay.
`[backup]` is commented out: a restored installation must not write into the archive that it came from,
which may have an owner that lives. It is prepared anew, under a directory of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_ENDS = r"(?=$|[/\s'\"])"


def moved(text: str, directories: Mapping[Path, Path]) -> str:
    """Every path at or below one of `directories` becomes the same below its new place."""
    if not directories:
        return text
    # The longest first: a runtime directory may lie below var.
    old = sorted((str(path) for path in directories), key=len, reverse=True)
    pattern = rf"(?<![\w.-])({'|'.join(map(re.escape, old))}){_ENDS}"
    return re.sub(pattern, lambda found: str(directories[Path(found[1])]), text, flags=re.MULTILINE)


def without_table(text: str, name: str) -> str:
    """The TOML document with the table `[name]` commented out, up to the next one."""
    lines, inside = [], False
    for line in text.splitlines():
        if line.startswith("["):
            inside = line.strip() == f"[{name}]"
        lines.append(f"# {line}" if inside and line.strip() else line)
    return "\n".join(lines) + "\n"
