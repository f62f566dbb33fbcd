"""A bad mood by number: which faults a venue has, decided by a seed alone.

The fault of the n-th request of a key (and of the n-th message pushed to it) is a function of the
seed, the key and n: the same run against the same number meets the same faults, however the requests
of several keys come to lie between each other. `share` of the private requests is hit; of the messages
as well. A rule of its own (faults.py) goes before the mood.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec

from loadtest.exchanges.gateio.faults import Kind, Rule

REQUESTS: tuple[tuple[Kind, int, tuple[float, float]], ...] = (
    ("drop_before", 3, (0, 0)),
    ("drop_after", 4, (0, 0)),
    ("500_before", 2, (0, 0)),
    ("500_after", 3, (0, 0)),
    ("429", 2, (0.2, 1.0)),
    ("maintenance", 1, (0, 0)),
    ("delay_before", 3, (0.05, 2.0)),
    ("delay_after", 3, (0.05, 2.0)),
    ("hang_before", 1, (0.5, 3.0)),
    ("hang_after", 2, (0.5, 3.0)),
    ("half_open_before", 1, (0, 0)),
    ("half_open_after", 1, (0, 0)),
    ("empty_201", 2, (0, 0)),
    ("unknown_enum", 2, (0, 0)),
)
"""Kind, weight, and the bounds of its seconds."""
PUSHES: tuple[tuple[Kind, int, tuple[float, float]], ...] = (
    ("ws_drop", 4, (0, 0)),
    ("ws_late", 4, (0.05, 2.0)),
    ("ws_duplicate", 3, (0, 0)),
    ("ws_reorder", 4, (0.5, 0.5)),
    ("ws_gap", 2, (0.2, 2.0)),
    ("ws_silence", 1, (0.5, 3.0)),
    ("ws_cut", 2, (0, 0)),
)


class BadMood(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As asked for. `share` from 0 to 1; `paths`: the beginning of those that are hit."""

    seed: int
    share: float = 0.1
    paths: str = "/api/v4/futures/"

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is a part of all requests, from 0 to 1, not {self.share}")


class SeededMood:
    """Counts what each key did, and answers for it."""

    def __init__(self, asked: BadMood) -> None:
        self.asked = asked
        self.hits: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._pushes: Counter[str] = Counter()

    def request(self, method: str, path: str, key: str) -> Rule | None:
        if not key or not path.startswith(self.asked.paths):
            return None
        self._requests[key] += 1
        return self._counted(decide(self.asked, "request", key, self._requests[key]))

    def push(self, channel: str, key: str) -> Rule | None:
        if not key:
            return None
        self._pushes[key] += 1
        return self._counted(decide(self.asked, "push", key, self._pushes[key]))

    def _counted(self, rule: Rule | None) -> Rule | None:
        if rule is not None:
            self.hits[rule.kind] += 1
        return rule

    def report(self) -> dict[str, object]:
        return {**msgspec.to_builtins(self.asked), "hits": dict(self.hits)}


def decide(asked: BadMood, what: str, key: str, n: int) -> Rule | None:
    """The fault of the n-th (from 1) request or message of a key, if it has one."""
    random = Random(f"{asked.seed}/{what}/{key}/{n}")
    if random.random() >= asked.share:
        return None
    kinds = REQUESTS if what == "request" else PUSHES
    kind, _, (least, most) = random.choices(kinds, weights=[weight for _, weight, _ in kinds])[0]
    return Rule(kind=kind, seconds=round(random.uniform(least, most), 3))
