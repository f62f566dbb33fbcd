"""One thing that was looked at: how it is, what was seen, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Level = Literal["wrong", "unseen", "warning", "well"]
"""`unseen`: it could not be looked at, which is not the same as well."""

WORST_FIRST: tuple[Level, ...] = ("wrong", "unseen", "warning", "well")
STATUS = {"well": 0, "warning": 0, "unseen": 2, "wrong": 1}


class Finding(msgspec.Struct, frozen=True):
    """`what` names the thing within its subject; `then` is for a person at three in the morning."""

    subject: str
    what: str
    level: Level
    seen: str
    then: str = ""

    def __post_init__(self) -> None:
        if self.level != "well" and not self.then:
            raise ValueError(f"{self.subject}, {self.what}: says {self.level} and not what to do")


def well(subject: str, what: str, seen: str) -> Finding:
    return Finding(subject, what, "well", seen)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """What matters most comes first; within a level in the order of the looks."""
    return sorted(findings, key=lambda one: WORST_FIRST.index(one.level))


def exit_status(findings: Iterable[Finding]) -> int:
    """1 where something is wrong; else 2 where something could not be looked at; else 0."""
    found = {STATUS[one.level] for one in findings}
    return 1 if 1 in found else max(found, default=2)
