"""What the product says of one trace: spans, log lines, audit records."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from audit.record import Kind, read
from audit.tiles import WIDTH, split_bundle
from tests.fakes.collector import Seen

IN_WORKER = ("intend", "order.send", "order.submit", "hsm.sign", "broker.request", "order.learn")


def one_of(found: list[Seen], name: str) -> Seen:
    """The only span of that name."""
    (span,) = [span for span in found if span.name == name]
    return span


def parents(found: list[Seen]) -> dict[str, set[str]]:
    """Under which kinds of spans the worker's own hang; each parent is in the trace, too."""
    by_id = {span.span_id: span.name for span in found}
    under: dict[str, set[str]] = defaultdict(set)
    for span in found:
        if span.name in IN_WORKER:
            under[span.name].add(by_id[span.parent_id])
    return dict(under)


async def lines(logs: Path, trace: str, *events: str, within_s: float = 10.0) -> list[Any]:
    """The processes' only line of each event with this trace id, once all are written."""
    async with asyncio.timeout(within_s):
        while True:
            said = _said(logs, trace)
            count = Counter(line["event"] for line in said)
            if all(count[event] for event in events):
                assert [count[event] for event in events] == [1] * len(events)
                return [line for event in events for line in said if line["event"] == event]
            await asyncio.sleep(0.05)


async def records(store: Path, trace: str, within_s: float = 10.0) -> set[str]:
    """The kinds of audit records that name the trace, once the signal's outcome is among them."""
    async with asyncio.timeout(within_s):
        while True:
            found = _kinds(store, trace)
            if Kind.SIGNAL_OUTCOME in found:
                return found
            await asyncio.sleep(0.1)


def _said(logs: Path, trace: str) -> list[Any]:
    files = (*logs.glob("ingress-*.log"), *logs.glob("worker-*.log"))
    found = [line for path in files for line in path.read_text().splitlines() if trace in line]
    return [json.loads(line) for line in found]


def _kinds(store: Path, trace: str) -> set[str]:
    paths = [path for path in store.rglob("entries/**/*") if path.is_file()]
    entries = [entry for path in paths for entry in split_bundle(path.read_bytes(), WIDTH)[0]]
    return {str(leaf.kind) for leaf in map(read, entries) if leaf.members.get("cor") == trace}
