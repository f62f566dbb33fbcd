"""WebAuthn (Level 2) as we use it: options that a browser takes, and what comes back, verified. Pure.

py_webauthn does the checking: type, challenge, origin, relying party, presence, signature, and that
the signature counter grew (section 6.1.1). User verification is preferred, not demanded: the
password was the first factor. No attestation: which make somebody bought is their own matter.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    UserVerificationRequirement,
)

from gateway.admin.sign_in import RelyingParty
from tenancy.errors import PortcullisError

TIMEOUT_MS = 120_000


class NotVerified(PortcullisError):
    """The authenticator's answer is not what was asked for."""

    code = "second_factor_failed"


class Registered(msgspec.Struct, frozen=True):
    """An authenticator's key for us."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


def new_challenge() -> bytes:
    return secrets.token_bytes(32)


def registration_options(
    party: RelyingParty,
    *,
    challenge: bytes,
    person_id: bytes,
    email: str,
    name: str,
    known: Sequence[bytes],
) -> dict[str, Any]:
    """For navigator.credentials.create(). `known`: credentials that the person has already."""
    options = generate_registration_options(
        rp_id=party.id,
        rp_name=party.name,
        user_id=person_id,
        user_name=email,
        user_display_name=name,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            user_verification=UserVerificationRequirement.PREFERRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=one) for one in known],
    )
    return dict(msgspec.json.decode(options_to_json(options)))


def registered(party: RelyingParty, credential: dict[str, Any], *, challenge: bytes) -> Registered:
    """The key that was registered. Raises NotVerified."""
    try:
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise NotVerified(f"the authenticator's answer was not taken: {_why(error)}") from None
    return Registered(verified.credential_id, verified.credential_public_key, verified.sign_count)


def authentication_options(
    party: RelyingParty, *, challenge: bytes, known: Sequence[bytes]
) -> dict[str, Any]:
    """For navigator.credentials.get()."""
    options = generate_authentication_options(
        rp_id=party.id,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        allow_credentials=[PublicKeyCredentialDescriptor(id=one) for one in known],
        user_verification=UserVerificationRequirement.PREFERRED,
    )
    return dict(msgspec.json.decode(options_to_json(options)))


def authenticated(
    party: RelyingParty,
    credential: dict[str, Any],
    *,
    challenge: bytes,
    public_key: bytes,
    sign_count: int,
) -> int:
    """The new signature count. Raises NotVerified, also for one that did not grow: a copy."""
    try:
        verified = verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=public_key,
            credential_current_sign_count=sign_count,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise NotVerified(f"the authenticator's answer was not taken: {_why(error)}") from None
    return verified.new_sign_count


def credential_id_of(credential: dict[str, Any]) -> str:
    """The credential that the browser says it used, base64url; empty where it says none."""
    found = credential.get("id", "")
    return found if isinstance(found, str) else ""


def _why(error: Exception) -> str:
    return type(error).__name__
