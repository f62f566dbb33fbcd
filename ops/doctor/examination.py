"""All subjects beside each other, each within its own time: one that hangs or breaks costs its own finding.

Subjects that ask a part of the product are not looked at while nothing runs: one cause, one finding.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from ops.doctor import (
    audit,
    backup,
    brokers,
    certificates,
    clock,
    disk,
    files,
    hsm,
    kernel,
    ports,
    postgres,
    processes,
    proxied,
    redis,
    start,
    stores,
    trading,
    versions,
)
from ops.doctor.finding import Finding, worst_first
from ops.doctor.looking import Ground
from ops.masking import masked
from ops.running import running
from ops.settings import Settings

Examine = Callable[[Ground], Awaitable[list[Finding]]]


class Subject(NamedTuple):
    """`needs_us`: there is nothing to see while the product is down."""

    name: str
    examine: Examine
    within_s: float
    needs_us: bool = False


SUBJECTS = (
    Subject("processes", processes.examine, 10.0),
    Subject("start", start.examine, 15.0),
    Subject("clock", clock.examine, 8.0),
    Subject("disk", disk.examine, 10.0),
    Subject("ports", ports.examine, 8.0),
    Subject("certificates", certificates.examine, 8.0),
    Subject("proxy", proxied.examine, 8.0),
    Subject("HSM", hsm.examine, 8.0, needs_us=True),
    Subject("PostgreSQL", postgres.examine, 12.0),
    Subject("backup", backup.examine, 8.0),
    Subject("Redis", redis.examine, 8.0),
    Subject("brokers", brokers.examine, 12.0),
    Subject("audit log", audit.examine, 10.0, needs_us=True),
    Subject("audit stores", stores.examine, 10.0),
    Subject("trading", trading.examine, 10.0, needs_us=True),
    Subject("files", files.examine, 8.0),
    Subject("kernel", kernel.examine, 8.0),
    Subject("versions", versions.examine, 8.0),
)


def ground_of(settings: Settings, file: Path) -> Ground:
    """Raises ConfigurationError where state.json is not one."""
    return Ground(settings, file, running(settings))


async def examined(ground: Ground, subjects: tuple[Subject, ...] = SUBJECTS) -> list[Finding]:
    """Every finding, the worst first. Never raises for what it finds, never longer than the longest
    deadline, and no text of it holds what looks like a secret."""
    found = await asyncio.gather(*(_one(subject, ground) for subject in subjects))
    return worst_first(_clean(one) for findings in found for one in findings)


async def _one(subject: Subject, ground: Ground) -> list[Finding]:
    if subject.needs_us and not ground.is_up:
        why, then = "nothing runs", "Start the product and ask again: see processes."
        return [Finding(subject.name, subject.name, "unseen", why, then)]
    try:
        async with asyncio.timeout(subject.within_s):
            return await subject.examine(ground)
    except TimeoutError:
        why = f"the look did not end within {subject.within_s:g} s"
        then = "Something it asks hangs: see the other findings, then ask that part by hand."
    except Exception as error:  # a look that breaks must not take the others with it
        why = f"the look broke: {type(error).__name__}: {error}"
        then = "Look by hand; and tell the makers, with this line: a look should not break."
    return [Finding(subject.name, subject.name, "unseen", why, then)]


def _clean(one: Finding) -> Finding:
    return Finding(one.subject, one.what, one.level, masked(one.seen), masked(one.then))
