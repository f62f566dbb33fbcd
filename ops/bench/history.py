"""What was measured before: one file a run, kept in the repository, so that a change shows its effect.

Compared are costs in floors (ops/bench/figures.py), which travel between machines and hours; values do not.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ops.bench.figures import cost
from ops.bench.measure import Measurement, to_json
from ops.bench.profile import Profile
from ops.processes import ROOT
from tenancy.errors import ConfigurationError

HISTORY = ROOT / "docs" / "bench-history"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One run of `./appliance bench --keep`. `commit`: short, with a `+` where files differed from it."""

    at: datetime
    commit: str
    conditions: str
    measurements: tuple[Measurement, ...]
    profiles: tuple[Profile, ...] = ()

    def cost(self, name: str) -> float | None:
        """Of that figure, in floors; None where it was not measured."""
        found = next((one for one in self.measurements if one.name == name), None)
        return None if found is None else cost(name, found.value, found.floor)


def keep(entry: Entry, directory: Path = HISTORY) -> Path:
    """Write it; the file's name sorts by time."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = f"{entry.at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{entry.commit.rstrip('+')}"
    file = directory / f"{stem}.json"
    said = msgspec.to_builtins(entry) | {"measurements": to_json(entry.measurements)}
    file.write_bytes(msgspec.json.format(msgspec.json.encode(said)) + b"\n")
    return file


def read(directory: Path = HISTORY) -> list[Entry]:
    """All that is kept, oldest first. Raises ConfigurationError, naming the file that cannot be read."""
    entries = []
    for file in sorted(directory.glob("*.json")):
        try:
            entries.append(msgspec.json.decode(file.read_bytes(), type=Entry))
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"{file}: {error}") from error
    return sorted(entries, key=lambda entry: entry.at)


def last(entries: Sequence[Entry], name: str) -> tuple[Entry, float] | None:
    """The newest entry that has this figure, and its cost."""
    for entry in reversed(entries):
        found = entry.cost(name)
        if found is not None:
            return entry, found
    return None


def names(entries: Sequence[Entry]) -> list[str]:
    """Every figure that was ever kept, in the order in which each first came."""
    return list(dict.fromkeys(one.name for entry in entries for one in entry.measurements))


def commit_here() -> str:
    """Of the sources that run now; `unknown` outside a repository."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=7", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
