"""What a run's processes are told, in one file that only their user may read: where, as whom, how hard.

Whoever starts them names it in the environment (`RUN`). They write what they saw beside it:

    sent-<process>.jsonl   each POST of a signal, as the auditor reads them (loadtest/auditor.py), and more
    asked-<process>.jsonl  each request of a tenant's program
    steps.json             what the search did (written by the master, after each step)
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from loadtest.swarm.course import Step, Timing
from loadtest.swarm.knee import Objectives, Repeat, Search

RUN = "PORTCULLIS_LOAD_RUN"


class Hook(msgspec.Struct, frozen=True):
    """Where a strategy sends, and what signs it."""

    hook_id: str
    secret: str

    def __repr__(self) -> str:
        return f"Hook({self.hook_id!r}, secret=…)"


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """From how many senders to how many, and how fine."""

    start: int
    most: int
    growth: float = 2.0
    precision: float = 0.1
    tries: int = 2
    times: int = 0
    """0: a search. Else `start` alone, measured so often."""

    def schedule(self) -> Search | Repeat:
        """Raises ValueError where there can be none."""
        if self.times:
            return Repeat(senders=self.start, times=self.times)
        return Search(
            start=self.start, most=self.most, growth=self.growth,
            precision=self.precision, tries=self.tries,
        )  # fmt: skip


class Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file. `service_keys`: of each tenant one. `pace_per_s`: signals a second of each sender."""

    directory: Path
    ingress: str
    admin: str
    authority: Path
    exchange: str
    hooks: tuple[Hook, ...]
    service_keys: tuple[str, ...]
    followers: int
    pace_per_s: float
    api_users: int
    api_pace_per_s: float
    streams: int
    generators: int
    search: Range
    objectives: Objectives
    timing: Timing

    def __repr__(self) -> str:
        return f"<Run of {len(self.hooks)} hooks in {self.directory}>"


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """steps.json. `good`: the highest number of senders at which all held; `found`: one above it did not."""

    steps: tuple[Step, ...]
    good: int
    found: bool


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of sent-….jsonl: a POST and its answer. `status` 0: none.

    Times in Unix seconds; `took_s` from the intended start to the answer.
    """

    message_id: str
    body: str
    status: int
    signal_id: str | None = msgspec.field(name="signalId")
    hook_id: str
    intended_at: float
    sent_at: float
    took_s: float
    told_when: bool = False
    """The answer carried Retry-After."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One line of asked-….jsonl. `tenant`: the place of its key. Times as in Sent."""

    tenant: int
    status: int
    intended_at: float
    took_s: float


def the_run() -> Run:
    """Of this process. Raises KeyError where nobody named one."""
    text = Path(os.environ[RUN]).read_bytes()
    return msgspec.json.decode(text, type=Run, dec_hook=_path)


def encode_run(run: Run) -> bytes:
    """The file's content."""
    return msgspec.json.encode(run, enc_hook=str)


def read_steps(directory: Path) -> Steps:
    """Raises OSError where the search wrote none."""
    return msgspec.json.decode((directory / "steps.json").read_bytes(), type=Steps)


def write_steps(directory: Path, steps: Steps) -> None:
    """Replaces what was there, at once."""
    fresh = directory / "steps.new"
    fresh.write_bytes(msgspec.json.encode(steps))
    fresh.replace(directory / "steps.json")


def read_sent(directory: Path) -> list[Sent]:
    """Every POST of every process under it, in the order of their intended starts."""
    sent = [msgspec.json.decode(line, type=Sent) for line in _lines(directory, "sent")]
    return sorted(sent, key=lambda one: one.intended_at)


def read_asked(directory: Path) -> list[Asked]:
    """The same of programs' requests."""
    asked = [msgspec.json.decode(line, type=Asked) for line in _lines(directory, "asked")]
    return sorted(asked, key=lambda one: one.intended_at)


def gathered(directory: Path) -> Path:
    """All processes' notes in one file, as the auditor reads them."""
    file = directory / "sent.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in _lines(directory, "sent")))
    return file


def _lines(directory: Path, what: str) -> list[bytes]:
    files = sorted(directory.rglob(f"{what}-*.jsonl"))
    return [line for file in files for line in file.read_bytes().splitlines()]


def _path(kind: type, value: object) -> Path:
    return Path(str(value))
