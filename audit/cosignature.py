"""C2SP tlog-cosignature, version 1: a witness's word that it saw a checkpoint, and when.

Signature type 0x04 of a signed note. What is signed is `cosignature/v1`, the time, and the whole
text of the checkpoint; what stands in the line after the key id is the time (8 bytes, big-endian,
POSIX seconds) and 64 bytes of Ed25519. Standard library and `cryptography` only.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.malformed import Malformed
from audit.note import check_name, unb64

COSIGNATURE = 0x04
LATEST = 2**63 - 1


@dataclass(frozen=True)
class Cosigner:
    """A witness as its readers know it: a name and an Ed25519 public key."""

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.public_key) != 32:
            raise Malformed("an Ed25519 public key has 32 bytes")

    @property
    def key_id(self) -> bytes:
        typed = bytes([COSIGNATURE]) + self.public_key
        return sha256(self.name.encode() + b"\n" + typed).digest()[:4]

    def __str__(self) -> str:
        """The `vkey` text."""
        data = base64.b64encode(bytes([COSIGNATURE]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{data}"

    @classmethod
    def parse(cls, text: str) -> Cosigner:
        """The inverse of str(). Raises Malformed."""
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise Malformed("a verifier key is name+id+key")
        name, key_id, encoded = parts
        data = unb64(encoded)
        if len(data) != 33 or data[0] != COSIGNATURE:
            raise Malformed("a witness's key is of type cosignature/v1 (0x04)")
        key = cls(name, data[1:])
        if key.key_id.hex() != key_id:
            raise Malformed("the verifier key's id does not belong to its name and key")
        return key

    def time_of(self, text: str, signature: bytes) -> int:
        """When this witness signed `text`, POSIX seconds. `signature`: without the key id.

        Raises Malformed where it is not a cosignature of this text by this key.
        """
        if len(signature) != 72:
            raise Malformed(f"the cosignature by {self.name} does not have 72 bytes")
        time = int.from_bytes(signature[:8], "big")
        if time > LATEST:
            raise Malformed(f"the cosignature by {self.name} names no time")
        try:
            key = Ed25519PublicKey.from_public_bytes(self.public_key)
            key.verify(signature[8:], cosigned_text(time, text))
        except InvalidSignature:
            raise Malformed(f"the cosignature by {self.name} does not verify") from None
        return time


def cosigned_text(time: int, text: str) -> bytes:
    """What a witness signs: `time` in POSIX seconds, `text` with its last newline."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()
