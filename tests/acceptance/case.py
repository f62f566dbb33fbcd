"""What a case of the acceptance suite is: a number that never changes, a claim, and the ability that it needs.

A case whose ability an adapter does not claim is not left out: it is run as the claim that the adapter
refuses the thing for good (`Need.refused`), and docs/brokers.md says *refused* in its cell.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fanout.ports import Caps
from tests.acceptance.desk import Desk

Run = Callable[[Desk], Awaitable[None]]


@dataclass(frozen=True)
class Claims:
    """What an adapter says that it can do: its Caps, and in words what Caps have no member for."""

    caps: Caps
    also: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Need:
    """An ability, who claims it, and what holds at an adapter that does not."""

    name: str
    claimed: Callable[[Claims], bool]
    refused: Run
    instead: str
    """What `refused` asserts, for the page."""


@dataclass(frozen=True)
class Case:
    number: str
    claim: str
    group: str
    need: Need | None
    run: Run

    def met_by(self, claims: Claims) -> bool:
        return self.need is None or self.need.claimed(claims)


CASES: dict[str, Case] = {}


def case(number: str, claim: str, need: Need | None = None) -> Callable[[Run], Run]:
    """Enter the function as a case; its module's docstring names the group."""

    def entered(run: Run) -> Run:
        if number in CASES:
            raise ValueError(f"{number} is taken by {CASES[number].claim!r}: numbers are for ever")
        group = run.__globals__["__doc__"].partition(":")[0]
        CASES[number] = Case(number, claim, group, need, run)
        return run

    return entered
