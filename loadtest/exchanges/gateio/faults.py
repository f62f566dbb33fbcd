"""Misbehaviour by rule: which request is hit, and what happens to it.

A rule names a kind and what it matches: method, path (a shell pattern, without query), key, text
(a substring of the body). Of the matching requests it hits the `nth` alone, or each with
`probability`, drawn from a generator seeded with `seed`; never more than `times`. The first rule
that hits a request acts, and the rules after it do not see that request. Kinds, with what they do
to an order:

  kind          executed?     what the client sees
  drop_before   no            the connection is cut
  429           no            429 TOO_MANY_REQUESTS, to come back in `seconds`
  500_before    no            500 INTERNAL
  hang_before   no            nothing for `seconds`, then the connection is cut
  delay_before  after seconds the answer (or a refusal, where X-Gate-Exptime has passed)
  delay_after   yes           the answer, `seconds` late
  drop_after    yes           the connection is cut
  500_after     yes           500 INTERNAL
  hang_after    yes           nothing for `seconds`, then the connection is cut
  unknown_enum  yes           2xx whose finish_as and status are words that nobody knows
  empty_201     yes           the right status, and an empty body
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from random import Random
from typing import Literal

import msgspec

Kind = Literal[
    "drop_before", "429", "500_before", "hang_before", "delay_before", "delay_after",
    "drop_after", "500_after", "hang_after", "unknown_enum", "empty_201",
]  # fmt: skip


class Rule(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One fault; see the module docstring. `seconds` is for the kinds that wait."""

    kind: Kind
    method: str = "POST"
    path: str = "/api/v4/futures/usdt/orders"
    key: str | None = None
    text: str | None = None
    probability: float = 1.0
    nth: int | None = None
    times: int | None = None
    seconds: float = 1.0
    seed: int = 0


class _Armed:
    """A rule with its counters."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.seen = 0
        self.hits = 0
        self.random = Random(rule.seed)

    def hit(self, method: str, path: str, key: str, body: bytes) -> bool:
        rule = self.rule
        if rule.method not in ("*", method) or not fnmatchcase(path, rule.path):
            return False
        if rule.key not in (None, key):
            return False
        if rule.text is not None and rule.text.encode() not in body:
            return False
        self.seen += 1
        if rule.times is not None and self.hits >= rule.times:
            return False
        if rule.nth is not None and self.seen != rule.nth:
            return False
        if rule.probability < 1.0 and self.random.random() >= rule.probability:
            return False
        self.hits += 1
        return True


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self.total_hits = 0

    def add(self, rules: list[Rule]) -> None:
        self._armed += [_Armed(rule) for rule in rules]

    def clear(self) -> None:
        self._armed.clear()

    def choose(self, method: str, path: str, key: str, body: bytes) -> Rule | None:
        for armed in self._armed:
            if armed.hit(method, path, key, body):
                self.total_hits += 1
                return armed.rule
        return None

    def report(self) -> list[dict[str, object]]:
        return [
            {"rule": msgspec.to_builtins(a.rule), "seen": a.seen, "hits": a.hits}
            for a in self._armed
        ]
