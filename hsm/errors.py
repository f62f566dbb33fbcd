"""What can go wrong at the vault, by what is then known.

Unavailable ones did nothing and may be asked again; refusals are final until a person or the
request changes. No text here ever holds a secret or a PIN.
"""

from __future__ import annotations

from tenancy.errors import Invalid, NotFound, PortcullisError, Unavailable


class SigningRefused(PortcullisError):
    """The policy does not allow this signature: which rule, and for what request."""

    code = "signing_refused"


class SealBroken(PortcullisError):
    """The sealed row is not what was enrolled: altered, or moved to another tenant or account."""

    code = "seal_broken"


class KeyMissing(NotFound):
    """No such key in the token: it was never made, or it was destroyed."""

    code = "hsm_key_missing"


class MalformedRequest(Invalid):
    """The request cannot be read, or breaks a limit of the protocol."""

    code = "malformed_request"


class SignerUnavailable(Unavailable):
    """The daemon does not answer. Nothing was signed that anybody could use."""

    code = "signer_unavailable"


class SignerBusy(Unavailable):
    """The daemon's queue is full: ask again a little later."""

    code = "signer_busy"


class SigningRate(Unavailable):
    """The tenant has used up its rate of signatures: ask again a little later."""

    code = "signing_rate"


class JournalFailed(Unavailable):
    """Refusals cannot be kept: the signer signs nothing until they can."""

    code = "journal_failed"


class TokenLost(Unavailable):
    """The token or its sessions are gone, or the canary sang wrong: the daemon restarts."""

    code = "token_lost"


class TokenRefused(PortcullisError):
    """The token lives and would not do it: the sealed key is of a kind that it cannot use."""

    code = "token_refused"


class PinRefused(PortcullisError):
    """The token refused the PIN. It is never tried again by itself: real tokens lock."""

    code = "pin_refused"


class CeremonyRefused(PortcullisError):
    """A key or token exists already, or is missing: says which. Nothing was changed."""

    code = "ceremony_refused"


class UnknownKey(NotFound):
    """The daemon does not hold this key now: send the sealed row with the request."""

    code = "unknown_key"


BY_CODE: dict[str, type[PortcullisError]] = {
    error.code: error
    for error in (
        SigningRefused, SealBroken, KeyMissing, MalformedRequest, SignerUnavailable,
        SignerBusy, SigningRate, JournalFailed, TokenLost, TokenRefused, PinRefused, CeremonyRefused, UnknownKey,
    )
}  # fmt: skip
"""How an answer's code becomes an exception again on the client's side."""
