"""The root of the error taxonomy: what happened, and whether trying again is allowed.

Every error that crosses a package's edge is a PortcullisError with a stable `code`
(lower_snake_case, listed in docs/codes.md) and a `retry` that says what a caller may do.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError)
"""What msgspec raises for bytes that it cannot read: for text that is no UTF-8 it is not its own error."""


class Retry(Enum):
    """What the caller may do after the error."""

    NEVER = "never"
    SAFELY = "safely"
    AFTER_RECONCILING = "after_reconciling"


class PortcullisError(Exception):
    """Something we can name. `str()` is a sentence for an operator; it never holds a secret."""

    code: ClassVar[str] = "internal"
    retry: ClassVar[Retry] = Retry.NEVER


class ConfigurationError(PortcullisError):
    """A setting is missing or wrong: says which, and what would be right."""

    code = "configuration"


class Unavailable(PortcullisError):
    """A part that we need does not answer; nothing was done."""

    code = "unavailable"
    retry = Retry.SAFELY


class OutcomeUnknown(PortcullisError):
    """The act may or may not have happened (an error at COMMIT, a lost answer): look before acting."""

    code = "outcome_unknown"
    retry = Retry.AFTER_RECONCILING


class NotFound(PortcullisError):
    """No such object in this tenant."""

    code = "not_found"


class Invalid(PortcullisError):
    """The input cannot be used: says where, what was found and what would be right."""

    code = "invalid"

    def __init__(self, text: str, *, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class Conflict(PortcullisError):
    """The input is right, but something that exists stands against it: says what."""

    code = "conflict"


class Stale(PortcullisError):
    """The object was changed since the revision that the change was made for."""

    code = "stale_revision"
