"""What the admin API refuses for reasons of its own; gateway/problems.py has each code's status."""

from __future__ import annotations

from tenancy.errors import Invalid, PortcullisError, Retry


class Forbidden(PortcullisError):
    """The caller is known and may not do this: says which action is missing."""

    code = "forbidden"


class BadKey(PortcullisError):
    """No credential, or one that is unknown, revoked, expired or wrong: not said which."""

    code = "bad_key"


class IfMatchNeeded(PortcullisError):
    """A change of something that others may change too needs the revision it was made for."""

    code = "if_match_needed"


class BadRequest(PortcullisError):
    """The request itself cannot be read: a header, the encoding of the body."""

    code = "bad_request"


class WrongMediaType(PortcullisError):
    """The body is of another type than this operation reads."""

    code = "unsupported_media_type"


class IdempotencyConflict(PortcullisError):
    """The Idempotency-Key was used for another request."""

    code = "idempotency_conflict"


class TooMany(PortcullisError):
    """The caller's rate is used up. `retry_after_s` says when it is not."""

    code = "rate_limited"
    retry = Retry.SAFELY

    def __init__(self, text: str, retry_after_s: int) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class PersonNeeded(PortcullisError):
    """Only a person may do this, signed in to their own tenant: a service key decides nothing."""

    code = "person_needed"


class OwnProposal(PortcullisError):
    """Nobody says yes to what they asked for themselves, whichever credential they asked with."""

    code = "own_proposal"


class ProposalClosed(PortcullisError):
    """The proposal is decided, withdrawn, applied or expired: says which."""

    code = "proposal_closed"


class PreviewOver(PortcullisError):
    """A replay needs a preview of its own that is not old, and of what would still happen."""

    code = "preview_over"


class ExportPending(PortcullisError):
    """An export is not made yet, or too many wait already."""

    code = "export_pending"
    retry = Retry.SAFELY


class KeysMissing(PortcullisError):
    """The HSM does not hold the new tenant's keys, or other ones: the ceremony comes first."""

    code = "keys_missing"


class Malformed(Invalid):
    """The input does not have the schema's shape; `field` is where."""

    code = "invalid"
