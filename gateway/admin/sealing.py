"""Secrets on their way in: encrypted to the enrol token, sealed by the enroller, kept as what came back.

What the enroller says is told in the words of this API: a ciphertext that the token cannot open is
the caller's mistake, a token without this tenant's keys is the operator's, and an enroller that does
not answer did nothing.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from fanout.brokers.sealing import Sealing, sealing_of
from gateway.admin.operation import Services
from hsm.enrol import encrypt_secret
from tenancy.errors import Conflict, Invalid, NotFound, Unavailable
from tenancy.values import TenantID


async def enrolment_key(services: Services) -> bytes:
    """The public key, PEM. Raises Unavailable."""
    return await _asked(services.enroller.public_key_pem())


async def seal_hook_secret(
    services: Services, tenant: TenantID, secret_id: UUID, secret: str
) -> bytes:
    """For `hook_secrets.sealed`. Raises Unavailable; Conflict for a tenant without keys."""
    ciphertext = encrypt_secret(await enrolment_key(services), secret.encode())
    sealing = services.enroller.seal_secret(tenant, str(secret_id), "hook", ciphertext)
    return await _asked(sealing)


def require_sealing(broker: str, asked: Sealing) -> None:
    """Raises Invalid where the secret would come out of the HSM and need not, or would have to and could not."""
    wanted = sealing_of(broker)
    if asked == wanted:
        return
    if wanted == "key":
        raise Invalid(
            f"sealing: the HSM signs for {broker} itself, so its secret never comes out: send it as"
            " `key`",
            field="sealing",
        )
    raise Invalid(
        f"sealing: {broker}'s own program has to see the secret: send it as `sdk`", field="sealing"
    )


async def seal_credential(
    services: Services, tenant: TenantID, account: UUID, broker: str, envelope: str
) -> bytes:
    """For `credentials.sealed`. `envelope`: base64 of what hsm.enrol.encrypt_key() makes, or of
    encrypt_secret() for a broker whose SDK has to see it (purpose `sdk`, subject: the account).

    Raises Invalid for what is no ciphertext under the enrolment key, so also for a plain secret;
    Unavailable; Conflict for a tenant without keys.
    """
    try:
        ciphertext = base64.b64decode(envelope, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("envelope: standard base64 is needed", field="envelope") from None
    key = load_pem_public_key(await enrolment_key(services))
    assert isinstance(key, RSAPublicKey)
    if len(ciphertext) != key.key_size // 8:
        raise Invalid(
            f"envelope: {key.key_size // 8} bytes are needed, the API secret encrypted to the key of"
            " GET /v1/enrolment-key; a secret in plain text is never sent here",
            field="envelope",
        )
    if sealing_of(broker) == "sdk":
        sealing = services.enroller.seal_secret(tenant, str(account), "sdk", ciphertext)
    else:
        sealing = services.enroller.seal_key(tenant, account, broker, ciphertext)
    try:
        return await _asked(sealing)
    except Invalid as error:
        raise Invalid(f"envelope: {error}", field="envelope") from None


async def _asked(answer: Awaitable[bytes]) -> bytes:
    try:
        return await answer
    except Unavailable as error:
        raise Unavailable(f"the enroller: {error}; nothing was done") from error
    except NotFound as error:
        raise Conflict(
            f"the HSM has no key of this tenant yet ({error}): an operator makes it"
        ) from error
