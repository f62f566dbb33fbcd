"""Are a new tenant's keys in the HSM? Each is used once, for something that binds nobody to anything.

1. The log's key, and its second one where it has one, signs the checkpoint of the empty log of that
   origin: true of every log before its first record, and all that the signer would sign with it anyway.
2. The enroller seals random bytes under the tenant's keys, and the signer opens them again: both
   tokens hold the same ones.

Rows come after keys, because a row without its key is a tenant whose every signal fails.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from uuid import UUID

from audit.checkpoint import Checkpoint
from audit.malformed import Malformed
from audit.note import ED25519, VerifierKey
from gateway.admin.errors import KeysMissing
from gateway.admin.operation import Services
from hsm.enrol import encrypt_secret
from hsm.errors import KeyMissing, SigningRefused
from tenancy.errors import Invalid

SUBJECT = "key-probe"
PURPOSE = "probe"
"""Of its own, so that whoever makes tenants cannot have hooks' secrets opened."""
EMPTY_ROOT = sha256(b"").digest()
"""RFC 6962 section 2.1: the root of no leaves."""


async def check_log_key(services: Services, label: str, key: VerifierKey) -> None:
    """Raises KeysMissing where the HSM has no such key, or another one; Unavailable."""
    checkpoint = Checkpoint(key.name, 0, EMPTY_ROOT)
    try:
        signature = await services.signer.sign_note(label, checkpoint.text().encode())
        checkpoint.note((key, signature))
    except (KeyMissing, SigningRefused, Malformed):
        raise KeysMissing(
            f"the HSM has no log key {label!r} that signs for this origin with this public key"
        ) from None


async def check_tenant_keys(services: Services, tenant: UUID) -> None:
    """Raises KeysMissing where the two tokens do not hold the same keys of this tenant; Unavailable."""
    secret, opened = secrets.token_bytes(32), b""
    try:
        ciphertext = encrypt_secret(await services.enroller.public_key_pem(), secret)
        sealed = await services.enroller.seal_secret(tenant, SUBJECT, PURPOSE, ciphertext)
        opened = await services.signer.open_secret(sealed, tenant_id=tenant, subject=SUBJECT)
    except (KeyMissing, SigningRefused):
        opened = b""
    if opened != secret:
        raise KeysMissing(f"the HSM does not hold the keys of tenant {tenant}")


def log_key(origin: str, public_key: bytes, kind: int = ED25519) -> VerifierKey:
    """The key under which the log's checkpoints are read. Raises Invalid."""
    try:
        return VerifierKey(origin, public_key, kind)
    except Malformed as error:
        raise Invalid(f"audit_log: {error}", field="audit_log") from None
