"""Log files since a time: chosen by the time in each line, and without what PostgreSQL repeats of statements.

Pure. A line without a time of its own belongs to the one before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

LEFT_OUT = "[left out: it may hold a customer's data]"
_JSON = re.compile(r'"timestamp": ?"([0-9T:.+-]+Z?)"')
_PLAIN = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC\b")
_REDIS = re.compile(r"^\d+:[A-Z] (\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d+) ")
_REPEATS = re.compile(r"^(.*?\b(?:STATEMENT|DETAIL|QUERY|CONTEXT):\s)")


def since(lines: Iterable[str], begin: datetime) -> Iterator[str]:
    """The lines from `begin` on (aware)."""
    keeps = False
    for line in lines:
        at = time_of(line)
        keeps = keeps if at is None else at >= begin
        if keeps:
            yield line


def time_of(line: str) -> datetime | None:
    """When a line says that it was written; None where it does not. Redis writes local time."""
    if found := _JSON.search(line):
        try:
            at = datetime.fromisoformat(found[1])
        except ValueError:
            return None
        return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    if found := _PLAIN.match(line):
        return datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    if found := _REDIS.match(line):
        return datetime.strptime(found[1], "%d %b %Y %H:%M:%S.%f").astimezone(UTC)
    return None


def without_statements(lines: Iterable[str]) -> Iterator[str]:
    """PostgreSQL repeats a failed statement and the row that it failed on: of these only that they were there."""
    dropping = False
    for line in lines:
        found = _REPEATS.match(line)
        if found is not None:
            dropping = True
            yield f"{found[1]}{LEFT_OUT}"
        elif not (dropping and line.startswith("\t")):
            dropping = False
            yield line
