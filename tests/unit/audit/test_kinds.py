"""Every kind of record that the log knows is written by some part of the product, and none that it does not."""

from __future__ import annotations

import re
from pathlib import Path

import audit
from audit.record import Kind

ROOT = Path(audit.__file__).parents[1]
READERS = {"record.py", "event_kinds.py", "events.py", "verifier.py", "bundle.py"}
"""They name kinds in order to read them."""
WRITTEN_BY_NEIGHBOURS = {Kind.HOLD, Kind.RELEASE, Kind.SHRED, Kind.CLOCK}
"""Retention, erasure and the clock's agent write these; each of the four may go once it is joined."""


def sources() -> list[str]:
    return [
        path.read_text()
        for package in ("audit", "fanout", "gateway", "ops")
        for path in (ROOT / package).rglob("*.py")
        if path.name not in READERS and "bench" not in path.parts
    ]


def test_every_kind_is_written_by_the_part_that_causes_it():
    named = {name for text in sources() for name in re.findall(r"\bKind\.([A-Z_]+)\b", text)}
    never = {kind for kind in Kind if kind.name not in named}
    assert never <= WRITTEN_BY_NEIGHBOURS


def test_no_part_names_a_kind_that_the_log_does_not_know():
    others = re.compile(r"\bKind\.([A-Z_]+)\b")
    own = "from audit.record import Kind"
    named = {name for text in sources() if own in text for name in others.findall(text)}
    assert named <= {kind.name for kind in Kind}
