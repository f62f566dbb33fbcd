"""What a check is: a claim, why it matters, and a function that returns, or says what it found."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from hsm.profile import Outcome

if TYPE_CHECKING:
    from hsm.conformance.bench import Bench


class DoesNotHold(Exception):
    """The claim is wrong for this token: what was seen instead."""


class CannotBeDone(Exception):
    """The token lacks what the check needs. (A refused call says the same by itself.)"""


class NotTried(Exception):
    """The check would harm a token that is not our own (a wrong PIN)."""


class Check(NamedTuple):
    """`run` returns None or a remark (a figure) where the claim holds."""

    name: str
    why: str
    run: Callable[[Bench], str | None]


class Finding(NamedTuple):
    """One check's result beside what the profile expects. `outcome` None: it was not tried."""

    name: str
    outcome: Outcome | None
    expected: Outcome | None
    remark: str
    why: str

    @property
    def differs(self) -> bool:
        return self.outcome is not None and self.outcome != self.expected


CHECKS: list[Check] = []


def check(why: str) -> Callable[[Callable[[Bench], str | None]], Callable[[Bench], str | None]]:
    """Put a function on the list, under its own name."""

    def enlist(run: Callable[[Bench], str | None]) -> Callable[[Bench], str | None]:
        CHECKS.append(Check(run.__name__, why, run))
        return run

    return enlist


def must(claim: bool, otherwise: str) -> None:
    """Raise DoesNotHold unless the claim is true."""
    if not claim:
        raise DoesNotHold(otherwise)
