"""A witness's own key: one file, 0600, made once; and what is signed with it (C2SP tlog-cosignature, v1).

The file is two lines: the witness's name, and the 32 bytes of its Ed25519 key in base64. Its public
half is what policies name (`vkey`). The same key must serve no second witness: a cosignature does not
say its signer's name.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.cosignature import LATEST, Cosigner, cosigned_text
from audit.malformed import Malformed
from audit.note import check_name, unb64


@dataclass(frozen=True)
class WitnessKey:
    """The private key; it has no repr."""

    name: str
    private: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> Cosigner:
        return Cosigner(self.name, self.private.public_key().public_bytes_raw())

    def cosign(self, text: str, time: int) -> str:
        """The cosignature line of a checkpoint's text. `time`: POSIX seconds, not zero."""
        if not 0 < time <= LATEST:
            raise Malformed("a cosignature of a checkpoint says when, and never zero")
        signature = self.private.sign(cosigned_text(time, text))
        raw = self.public.key_id + time.to_bytes(8, "big") + signature
        return f"— {self.name} {base64.b64encode(raw).decode()}\n"


def make_key(path: Path, name: str) -> WitnessKey:
    """A new key in a file that must not exist. Raises FileExistsError, Malformed."""
    check_name(name)
    key = WitnessKey(name, Ed25519PrivateKey.generate())
    secret = base64.b64encode(key.private.private_bytes_raw())
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(name.encode() + b"\n" + secret + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def read_key(path: Path) -> WitnessKey:
    """Raises OSError; Malformed for another content, or where others may read the file."""
    if path.stat().st_mode & 0o077:
        raise Malformed(f"{path} may be read by others: chmod 0600 it")
    lines = path.read_text().split("\n")
    if len(lines) != 3 or lines[2]:
        raise Malformed(f"{path} is not a witness's key: a name and a key, one line each")
    check_name(lines[0])
    secret = unb64(lines[1])
    if len(secret) != 32:
        raise Malformed(f"{path}: an Ed25519 key has 32 bytes")
    return WitnessKey(lines[0], Ed25519PrivateKey.from_private_bytes(secret))
