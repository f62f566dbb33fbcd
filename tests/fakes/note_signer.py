"""A checkpoint signer with a real Ed25519 key in memory, which can be told to be away."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenancy.errors import Unavailable


class MemorySigner:
    def __init__(self, seed: bytes = b"\x07" * 32) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.away = False
        self.signed: list[bytes] = []

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    async def sign_note(self, label: str, text: bytes) -> bytes:
        if self.away:
            raise Unavailable("the signer does not answer")
        self.signed.append(text)
        return self._key.sign(text)
