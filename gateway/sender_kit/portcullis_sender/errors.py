"""What can become of a signal that was not accepted, sorted by what is then known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document (RFC 9457). `code` is stable: docs/codes.md lists them with their remedies."""

    status: int
    code: str
    title: str
    detail: str
    field: str | None = None
    """Where in the signal: a JSON path such as `$.stopLoss.percent`."""
    trace_id: str | None = None
    """The name under which the gateway's logs have the request."""

    @classmethod
    def read(cls, status: int, document: Mapping[str, object]) -> Problem:
        """From a decoded body; what is missing or no text is left empty."""

        def text(name: str) -> str:
            value = document.get(name)
            return value if isinstance(value, str) else ""

        return cls(
            status,
            text("code") or f"http_{status}",
            text("title"),
            text("detail"),
            text("field") or None,
            text("trace_id") or None,
        )

    def __str__(self) -> str:
        return f"{self.code} ({self.status}): {self.detail or self.title or 'no problem document'}"


class SenderError(Exception):
    """The root: the signal `message_id` has no receipt."""

    def __init__(self, text: str, message_id: str) -> None:
        super().__init__(text)
        self.message_id = message_id


class Refused(SenderError):
    """The gateway said no, and would again: nothing was done, and nothing was or is repeated."""

    def __init__(self, problem: Problem, message_id: str) -> None:
        super().__init__(f"{message_id}: {problem}", message_id)
        self.problem = problem


class Unauthenticated(Refused):
    """401: the wrong secret, a clock that is wrong, or a hook that does not exist."""


class InvalidSignal(Refused):
    """422: `problem.field` names what the signal language does not allow."""


class MessageConflict(Refused):
    """409: the id was used before, with another body. The first message stands."""


class NotDelivered(SenderError):
    """Nobody answered yes or no in time.

    `perhaps_accepted`: an attempt may have been accepted all the same. Sending the same signal
    again under the same `message_id` is without harm and tells; under a new id it may trade twice.
    """

    def __init__(
        self,
        message_id: str,
        *,
        attempts: int,
        perhaps_accepted: bool,
        cause: str,
        problem: Problem | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        perhaps = "it may have been accepted" if perhaps_accepted else "it was not accepted"
        super().__init__(f"{message_id}: {cause}; {attempts} attempts, {perhaps}", message_id)
        self.attempts = attempts
        self.perhaps_accepted = perhaps_accepted
        self.problem = problem
        self.retry_after_s = retry_after_s


def refusal(problem: Problem, message_id: str) -> Refused:
    """The error for a status that says no."""
    kinds = {401: Unauthenticated, 409: MessageConflict, 422: InvalidSignal}
    return kinds.get(problem.status, Refused)(problem, message_id)
