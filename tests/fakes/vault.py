"""Enroller and signer in one, without an HSM: seals by reversing what was encrypted to its real RSA key,
and opens what it sealed for the same tenant and subject.

The encryption of a secret on its way in is real (hsm/enrol.py); only the token is a stand-in.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hsm.enrol import unframed
from hsm.envelope import SealedKey, SealedSecret, pack
from hsm.errors import KeyMissing, SigningRefused
from hsm.policy import checkpoint_origin
from tenancy.errors import Unavailable


class Vault:
    """`away` makes it fail. `sealed` lists what came: (method, tenant, subject, purpose).

    It holds every tenant's keys but those of `without_keys`, and the log keys of `add_log_key()`.
    """

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
        self.away = False
        self.sealed: list[tuple[Any, ...]] = []
        self.without_keys: set[UUID] = set()
        self._logs: dict[str, tuple[str, Ed25519PrivateKey]] = {}

    def add_log_key(self, label: str, origin: str) -> bytes:
        """As the ceremony does; the public key."""
        key = Ed25519PrivateKey.generate()
        self._logs[label] = (origin, key)
        return key.public_key().public_bytes_raw()

    async def sign_note(self, label: str, text: bytes) -> bytes:
        self._check()
        if label not in self._logs:
            raise KeyMissing(f"no log key {label!r}")
        origin, key = self._logs[label]
        if checkpoint_origin(text) != origin:
            raise SigningRefused("the key is for another origin")
        return key.sign(text)

    async def public_key_pem(self) -> bytes:
        self._check()
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    async def seal_secret(
        self, tenant: UUID, subject: str, purpose: str, ciphertext: bytes
    ) -> bytes:
        self._check()
        if tenant in self.without_keys:
            raise KeyMissing(f"no keys of tenant {tenant}")
        self.sealed.append(("secret", tenant, subject, purpose))
        if purpose == "sdk":
            return pack(SealedSecret(tenant, subject, purpose, 1, ciphertext[::-1], b"mac"))
        return ciphertext[::-1]

    async def open_secret(self, sealed: bytes, *, tenant_id: UUID, subject: str) -> bytes:
        self._check()
        assert any(entry[:3] == ("secret", tenant_id, subject) for entry in self.sealed)
        return unframed(self.decrypted(sealed[::-1]))

    def decrypted(self, ciphertext: bytes) -> bytes:
        """What was encrypted to its key, as a test may see it and no process of ours may."""
        sha1 = hashes.SHA1()
        mask = padding.OAEP(padding.MGF1(algorithm=sha1), algorithm=sha1, label=None)
        return self._key.decrypt(ciphertext, mask)

    async def seal_key(self, tenant: UUID, account: UUID, broker: str, ciphertext: bytes) -> bytes:
        self._check()
        self.sealed.append(("key", tenant, account, broker))
        return pack(SealedKey(tenant, str(account), broker, 1, ciphertext[::-1], b"mac"))

    async def status(self) -> dict[str, Any]:
        self._check()
        return {}

    def _check(self) -> None:
        if self.away:
            raise Unavailable("the enroller is away")
