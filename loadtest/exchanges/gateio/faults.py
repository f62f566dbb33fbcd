"""Misbehaviour by rule: which request or which pushed message is hit, and what happens to it.

A rule names a kind and what it matches. Of the matching ones it hits the `nth` alone, or each with
`probability`, drawn from a generator seeded with `seed`; never more than `times`. After a hit it hits
everything that matches for `lasting_s` (a storm of 429, a maintenance). The first rule that hits acts,
and the rules after it do not see that request. Where no rule hits, the mood may (mood.py).

Requests match by method, path (a shell pattern, without query), key, text (a substring of the body).
The handshake of a WebSocket is a GET of its path; what comes over its order API has the path of the
REST call that it stands for.

  kind              executed?     what the client sees
  drop_before       no            the connection is cut
  429               no            429 TOO_MANY_REQUESTS, to come back in `seconds`
  500_before        no            500 INTERNAL
  maintenance       no            503 and a page of HTML, as of the proxy in front
  hang_before       no            nothing for `seconds`, then the connection is cut
  half_open_before  no            nothing, for ever: the connection is dead and does not say so
  delay_before      after seconds the answer (or a refusal, where X-Gate-Exptime has passed)
  delay_after       yes           the answer, `seconds` late
  drop_after        yes           the connection is cut
  500_after         yes           500 INTERNAL
  hang_after        yes           nothing for `seconds`, then the connection is cut
  half_open_after   yes           nothing, for ever
  unknown_enum      yes           2xx whose finish_as and status are words that nobody knows
  empty_201         yes           the right status, and an empty body

Messages that are pushed, and answers of the order API, match by channel (a shell pattern), key and
text (a substring of the message).

  kind              what the listener sees
  ws_drop           not this one
  ws_late           this one `seconds` later
  ws_duplicate      this one twice
  ws_reorder        this one after the next, or after `seconds` where there is none
  ws_gap            not this one, and nothing else that is pushed for `seconds`; pings are answered
  ws_silence        nothing at all for `seconds`, not even an answer to a ping
  ws_cut            the connection is cut; what happens until the next one is told to nobody
"""

from __future__ import annotations

import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from random import Random
from typing import Literal, Protocol

import msgspec

Kind = Literal[
    "drop_before", "429", "500_before", "hang_before", "delay_before", "delay_after",
    "drop_after", "500_after", "hang_after", "unknown_enum", "empty_201",
    "maintenance", "half_open_before", "half_open_after",
    "ws_drop", "ws_late", "ws_duplicate", "ws_reorder", "ws_gap", "ws_silence", "ws_cut",
]  # fmt: skip


class Rule(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One fault; see the module docstring. `seconds` is for the kinds that wait."""

    kind: Kind
    method: str = "POST"
    path: str = "/api/v4/futures/usdt/orders"
    channel: str = "*"
    key: str | None = None
    text: str | None = None
    probability: float = 1.0
    nth: int | None = None
    times: int | None = None
    seconds: float = 1.0
    seed: int = 0
    lasting_s: float = 0.0

    @property
    def pushed(self) -> bool:
        """It is about what is pushed, not about requests."""
        return self.kind.startswith("ws_")


class Mood(Protocol):
    """What may hit where no rule does."""

    def request(self, method: str, path: str, key: str) -> Rule | None: ...

    def push(self, channel: str, key: str) -> Rule | None: ...


class _Armed:
    """A rule with its counters."""

    def __init__(self, rule: Rule, now: Callable[[], float]) -> None:
        self.rule = rule
        self.seen = 0
        self.hits = 0
        self.random = Random(rule.seed)
        self._now = now
        self._until = 0.0

    def request(self, method: str, path: str, key: str, body: bytes) -> bool:
        rule = self.rule
        if rule.method not in ("*", method) or not fnmatchcase(path, rule.path):
            return False
        return self._hit(key, body)

    def push(self, channel: str, key: str, message: bytes) -> bool:
        return fnmatchcase(channel, self.rule.channel) and self._hit(key, message)

    def _hit(self, key: str, content: bytes) -> bool:
        rule = self.rule
        if rule.key not in (None, key):
            return False
        if rule.text is not None and rule.text.encode() not in content:
            return False
        self.seen += 1
        if self._until and self._now() < self._until:
            self.hits += 1
            return True
        if rule.times is not None and self.hits >= rule.times:
            return False
        if rule.nth is not None and self.seen != rule.nth:
            return False
        if rule.probability < 1.0 and self.random.random() >= rule.probability:
            return False
        self.hits += 1
        if rule.lasting_s:
            self._until = self._now() + rule.lasting_s
        return True


class Faults:
    """The rules in force, and the mood."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._requests: list[_Armed] = []
        self._pushes: list[_Armed] = []
        self.mood: Mood | None = None
        self.total_hits = 0

    def add(self, rules: list[Rule]) -> None:
        for rule in rules:
            armed = self._pushes if rule.pushed else self._requests
            armed.append(_Armed(rule, self._now))

    def clear(self) -> None:
        """All rules go; the mood stays."""
        self._requests.clear()
        self._pushes.clear()

    def choose(self, method: str, path: str, key: str, body: bytes) -> Rule | None:
        for armed in self._requests:
            if armed.request(method, path, key, body):
                self.total_hits += 1
                return armed.rule
        return self._count(self.mood.request(method, path, key)) if self.mood else None

    def choose_push(self, channel: str, key: str, message: bytes) -> Rule | None:
        for armed in self._pushes:
            if armed.push(channel, key, message):
                self.total_hits += 1
                return armed.rule
        return self._count(self.mood.push(channel, key)) if self.mood else None

    def _count(self, rule: Rule | None) -> Rule | None:
        self.total_hits += rule is not None
        return rule

    def report(self) -> list[dict[str, object]]:
        return [
            {"rule": msgspec.to_builtins(a.rule), "seen": a.seen, "hits": a.hits}
            for a in (*self._requests, *self._pushes)
        ]
