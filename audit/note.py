"""C2SP signed-note: a text, a blank line, and signature lines; strict in reading and writing.

A log signs with Ed25519 (type 0x01) and, where it has such a key too, with ECDSA P-256 over SHA-256
(0x02); witnesses' cosignatures (0x04) are audit/cosignature.py's. A line under an unknown key is
ignored, a bad signature under a known key refuses the whole note. Standard library and
`cryptography` only.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from audit.malformed import Malformed

ED25519, ECDSA_P256 = 0x01, 0x02
MOST_SIGNATURES = 100
MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class VerifierKey:
    """A log key's name and the key itself: what a reader must know beforehand.

    `public_key`: 32 bytes of Ed25519; of `kind` ECDSA_P256 the DER of its SubjectPublicKeyInfo.
    """

    name: str
    public_key: bytes
    kind: int = ED25519

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.kind == ECDSA_P256:
            _p256(self.public_key)
        elif self.kind != ED25519:
            raise Malformed("the key is not of type Ed25519 (0x01) or ECDSA (0x02)")
        elif len(self.public_key) != 32:
            raise Malformed("an Ed25519 public key has 32 bytes")

    @property
    def key_id(self) -> bytes:
        if self.kind == ECDSA_P256:  # without the name, unlike every other type
            return sha256(self.public_key).digest()[:4]
        typed = bytes([self.kind]) + self.public_key
        return sha256(self.name.encode() + b"\n" + typed).digest()[:4]

    def __str__(self) -> str:
        """The `vkey` text: name+hex key id+base64(type ‖ key)."""
        return f"{self.name}+{self.key_id.hex()}+{_b64(bytes([self.kind]) + self.public_key)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise Malformed("a verifier key is name+id+key")
        name, key_id, encoded = parts
        data = unb64(encoded)
        if not data:
            raise Malformed("the verifier key is empty")
        key = cls(name, data[1:], data[0])
        if key.key_id.hex() != key_id:
            raise Malformed("the verifier key's id does not belong to its name and key")
        return key

    @property
    def public(self) -> Ed25519PublicKey | EllipticCurvePublicKey:
        """The key itself, as `cryptography` has it."""
        if self.kind == ECDSA_P256:
            return _p256(self.public_key)
        return Ed25519PublicKey.from_public_bytes(self.public_key)

    def verifies(self, text: bytes, signature: bytes) -> bool:
        try:
            if isinstance(public := self.public, EllipticCurvePublicKey):
                public.verify(signature, text, ECDSA(SHA256()))
            else:
                public.verify(signature, text)
        except InvalidSignature:
            return False
        return True

    def line(self, signature: bytes) -> str:
        """The signature line of this key."""
        return f"— {self.name} {_b64(self.key_id + signature)}\n"


def parse_keys(text: str) -> tuple[VerifierKey, ...]:
    """The keys of one name, one per line: a log whose key was changed has several. Raises Malformed."""
    keys = tuple(VerifierKey.parse(line.strip()) for line in text.splitlines() if line.strip())
    if not keys:
        raise Malformed("no verifier key")
    if len({key.name for key in keys}) != 1:
        raise Malformed("the verifier keys are not all of one name")
    if len({key.key_id for key in keys}) != len(keys):
        raise Malformed("a verifier key is given twice, or two share an id")
    return keys


def assemble(text: str, lines: list[str]) -> bytes:
    """The whole note: `text` must end with a newline."""
    if not text.endswith("\n"):
        raise Malformed("a note's text ends with a newline")
    return (text + "\n" + "".join(lines)).encode()


def open_note(note: bytes, *known: VerifierKey) -> str:
    """The text, signed by at least one of the known keys and by none of them wrongly.

    Raises Malformed: bad form, a bad signature under a known key, or no signature of a known key.
    """
    text, lines = split_note(note)
    keys = {(key.name, key.key_id): key for key in known}
    signed = False
    seen = set()
    for name, key_id, signature in lines:
        key = keys.get((name, key_id))
        if key is None:
            continue
        if (name, key_id) in seen:
            raise Malformed(f"two signatures by the same key of {name}")
        seen.add((name, key_id))
        if not key.verifies(text.encode(), signature):
            raise Malformed(f"the signature by {name} does not verify")
        signed = True
    if not signed:
        raise Malformed("no signature by a known key")
    return text


def split_note(note: bytes) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """The text, and each line's name, key id and signature; nothing is verified. Raises Malformed."""
    text, block = _halves(note)
    lines = block.split("\n")[:-1]
    if len(lines) > MOST_SIGNATURES:
        raise Malformed(f"a note with more than {MOST_SIGNATURES} signatures")
    return text, [_signature(line) for line in lines]


def _halves(note: bytes) -> tuple[str, str]:
    if len(note) > MOST_BYTES:
        raise Malformed(f"a note of {len(note)} bytes; at most {MOST_BYTES} are allowed")
    try:
        whole = note.decode()
    except UnicodeDecodeError:
        raise Malformed("a note is UTF-8") from None
    if any(character < " " and character != "\n" for character in whole):
        raise Malformed("a note holds no control characters but newline")
    at = whole.rfind("\n\n")
    text, block = whole[: at + 1], whole[at + 2 :]
    if at < 0 or not block.endswith("\n"):
        raise Malformed("a note is a text, a blank line and signature lines that end with newlines")
    return text, block


def _signature(line: str) -> tuple[str, bytes, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—":
        raise Malformed("a signature line is: em dash, space, name, space, base64")
    check_name(parts[1])
    data = unb64(parts[2])
    if len(data) < 5:
        raise Malformed("a signature is a 4-byte key id and the signature itself")
    return parts[1], data[:4], data[4:]


def check_name(name: str) -> None:
    if not name or "+" in name or any(c.isspace() or c < " " for c in name):
        raise Malformed(f"{name!r} is not a key name: not empty, no spaces, no plus sign")


def unb64(text: str) -> bytes:
    """Standard base64 in its one right spelling: padding bits zero, nothing else accepted."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("not base64") from None
    if _b64(data) != text:
        raise Malformed("base64 that is not in its canonical spelling")
    return data


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _p256(der: bytes) -> EllipticCurvePublicKey:
    """Raises Malformed for anything but the one DER of a P-256 key's SubjectPublicKeyInfo."""
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise Malformed("not the DER of a public key") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise Malformed("an ECDSA key of a log is on the curve P-256")
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != der:
        raise Malformed("the DER of a public key is not in its canonical spelling")
    return key
