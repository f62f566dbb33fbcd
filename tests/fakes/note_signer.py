"""A checkpoint signer with real keys in memory, Ed25519 and P-256, which can be told to be away."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit.ports import p256_label
from tenancy.errors import Unavailable


class MemorySigner:
    def __init__(self, seed: bytes = b"\x07" * 32) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._second = ec.derive_private_key(int.from_bytes(seed[:16], "big"), ec.SECP256R1())
        self.away = False
        self.signed: list[bytes] = []

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    @property
    def p256_key(self) -> bytes:
        public = self._second.public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    async def sign_note(self, label: str, text: bytes) -> bytes:
        if self.away:
            raise Unavailable("the signer does not answer")
        if label.endswith(p256_label("")):
            return self._second.sign(text, ec.ECDSA(SHA256()))
        self.signed.append(text)
        return self._key.sign(text)
