"""One signal on its way: what each answer means, and whether and when to try again. Pure.

Every attempt carries the same id and body and a signature of its own time. The gateway gives a
repeat the first one's answer and causes nothing new, so whatever is not known may be asked again:

    202, 200                     accepted: the receipt
    408, 429, 5xx                again, not before Retry-After
    no answer, or one unreadable again: the attempt may or may not have arrived
    a certificate not trusted    given up at once: nothing was sent
    everything else              refused, never again

A wait that would end after `deadline_s` is not begun.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from .errors import NotDelivered, Problem, refusal
from .signing import Key, signature_headers

ANSWER_BYTES_MOST = 1 << 20
_NOTHING_DONE = frozenset({"rate_limited", "unavailable", "overloaded", "request_timeout"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient to be. Seconds."""

    timeout_s: float = 10.0
    """The longest silence within one attempt: connecting, sending or waiting for the answer."""
    deadline_s: float = 60.0
    """From the first attempt on; no attempt begins later. A stale order is worse than none."""
    attempts_most: int = 10
    first_wait_s: float = 0.2
    longest_wait_s: float = 10.0

    def __post_init__(self) -> None:
        if min(self.timeout_s, self.deadline_s, self.first_wait_s, self.longest_wait_s) <= 0:
            raise ValueError("a policy's seconds are above 0")
        if self.attempts_most < 1:
            raise ValueError("attempts_most: at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The gateway has the signal, durably."""

    signal_id: str
    message_id: str
    status: str
    attempts: int
    """How many were needed."""
    link: str | None
    """Where the management API shows the signal."""
    trace_id: str | None
    answer: Mapping[str, Any]
    """The whole answer. With `wait_s` it may say what became of each account."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """Nothing usable came back. `sent`: bytes of the signal may have left.

    `hopeless`: the next attempt would end alike, for the gateway's certificate is not trusted.
    """

    cause: str
    sent: bool
    hopeless: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """Try again after so many seconds."""

    after_s: float


class Delivery:
    """One signal, from the first attempt to its end."""

    def __init__(
        self,
        body: bytes,
        message_id: str,
        keys: Sequence[Key],
        policy: Policy,
        *,
        wait_s: int | None,
        begun_s: float,
    ) -> None:
        """`begun_s`: the monotonic clock's now; judge() is told the same clock."""
        if wait_s is not None and wait_s < 0:
            raise ValueError("wait_s: 0 or more seconds")
        self.body = body
        self.message_id = message_id
        self.attempts = 0
        self.timeout_s = policy.timeout_s + (wait_s or 0)
        self._keys = keys
        self._policy = policy
        self._wait_s = wait_s
        self._begun_s = begun_s
        self._perhaps_accepted = False

    def headers(self, unix_s: float) -> dict[str, str]:
        """The headers of the next attempt, signed for this moment. Raises ValueError for a bad id."""
        self.attempts += 1
        headers = {
            "content-type": "application/json",
            **signature_headers(self._keys, self.message_id, int(unix_s), self.body),
        }
        if self._wait_s is not None:
            headers["prefer"] = f"wait={self._wait_s}"
        return headers

    def judge(
        self, result: Answer | Lost, *, now_s: float, unix_s: float, chance: float
    ) -> Receipt | Again:
        """What follows. `chance`: 0 to 1, so that many senders do not come back together.

        Raises Refused where the gateway said no, NotDelivered where time or attempts are used up.
        """
        if isinstance(result, Lost):
            self._perhaps_accepted |= result.sent
            if result.hopeless:
                raise self._given_up(result.cause, None, 0.0)
            return self._again(result.cause, None, 0.0, now_s, chance)
        document = _decoded(result.body)
        if result.status in (200, 202):
            receipt = self._receipt(document, result)
            if receipt is not None:
                return receipt
            self._perhaps_accepted = True
            return self._again("an answer without signalId", None, 0.0, now_s, chance)
        problem = Problem.read(result.status, document)
        if result.status not in (408, 429) and result.status < 500:
            raise refusal(problem, self.message_id)
        self._perhaps_accepted |= result.status != 429 and problem.code not in _NOTHING_DONE
        asked_s = retry_after_s(result.headers.get("retry-after"), unix_s)
        return self._again(str(problem), problem, asked_s, now_s, chance)

    def _receipt(self, document: Mapping[str, Any], answer: Answer) -> Receipt | None:
        signal_id, links = document.get("signalId"), document.get("links")
        if not isinstance(signal_id, str):
            return None
        return Receipt(
            signal_id=signal_id,
            message_id=self.message_id,
            status=str(document.get("status", "")),
            attempts=self.attempts,
            link=links.get("self") if isinstance(links, dict) else None,
            trace_id=answer.headers.get("portcullis-trace-id"),
            answer=document,
        )

    def _again(
        self, cause: str, problem: Problem | None, asked_s: float, now_s: float, chance: float
    ) -> Again:
        policy = self._policy
        most = min(policy.longest_wait_s, policy.first_wait_s * 2 ** (self.attempts - 1))
        wait_s = max(asked_s, most * (0.5 + chance / 2))
        too_late = now_s + wait_s > self._begun_s + policy.deadline_s
        if too_late or self.attempts >= policy.attempts_most:
            raise self._given_up(cause, problem, asked_s)
        return Again(wait_s)

    def _given_up(self, cause: str, problem: Problem | None, asked_s: float) -> NotDelivered:
        return NotDelivered(
            self.message_id,
            attempts=self.attempts,
            perhaps_accepted=self._perhaps_accepted,
            cause=cause,
            problem=problem,
            retry_after_s=asked_s or None,
        )


def retry_after_s(text: str | None, unix_s: float) -> float:
    """Retry-After (RFC 9110 section 10.2.3), seconds or a date; 0 where it is absent or unreadable."""
    if text is None:
        return 0.0
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.fromtimestamp(unix_s, UTC)).total_seconds())


def _decoded(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
