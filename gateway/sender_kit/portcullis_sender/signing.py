"""Standard Webhooks signatures: the three headers over id, time and body. Pure.

Source: the Standard Webhooks specification 1.0, "Signature scheme". What is signed is
`id "." timestamp "." body`, on the bytes that are sent: encode once, sign and send the same bytes.

    v1   HMAC-SHA256 under a shared secret        whsec_<base64 of 24 to 64 bytes>
    v1a  Ed25519; the gateway knows the public key  whsk_<base64 of the 32-byte seed, or of seed and public key>

Published test vectors: docs/senders/vectors.json.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MESSAGE_ID = re.compile(r"[0-9A-Za-z_:~+/=@|-]{1,256}")


class Key(Protocol):
    """Something that signs. Never shows itself in a repr."""

    def sign(self, signed: bytes) -> str:
        """One entry of `webhook-signature`: the scheme, a comma, base64."""
        ...


class HmacKey:
    """v1: a secret that gateway and sender share."""

    def __init__(self, key: bytes) -> None:
        if not 24 <= len(key) <= 64:
            raise ValueError(f"a webhook secret has 24 to 64 bytes, this one {len(key)}")
        self._key = key

    def __repr__(self) -> str:
        return "HmacKey(…)"

    def sign(self, signed: bytes) -> str:
        return "v1," + _base64(hmac.digest(self._key, signed, hashlib.sha256))


class Ed25519Key:
    """v1a: a private key that only the sender has. Needs the package `cryptography`."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private

    def __repr__(self) -> str:
        return "Ed25519Key(…)"

    @classmethod
    def from_bytes(cls, key: bytes) -> Ed25519Key:
        """From the 32-byte seed (RFC 8032), or the seed and the public key. Raises ValueError."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if len(key) not in (32, 64):
            raise ValueError(f"an Ed25519 key has 32 or 64 bytes, this one {len(key)}")
        made = cls(Ed25519PrivateKey.from_private_bytes(key[:32]))
        if len(key) == 64 and made.public != key[32:]:
            raise ValueError(
                "the public half of the Ed25519 key does not belong to the private one"
            )
        return made

    @property
    def public(self) -> bytes:
        """The 32 bytes that the hook is told, as base64, when the secret is made with scheme v1a."""
        return self._private.public_key().public_bytes_raw()

    def sign(self, signed: bytes) -> str:
        return "v1a," + _base64(self._private.sign(signed))


def read_key(text: str) -> Key:
    """The key that `whsec_…` (v1) or `whsk_…` (v1a) says. Raises ValueError, without the secret in it."""
    prefix, _, encoded = text.strip().partition("_")
    if prefix not in ("whsec", "whsk"):
        raise ValueError("a webhook secret starts with whsec_ or whsk_")
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"a webhook secret is base64 after {prefix}_") from None
    return HmacKey(key) if prefix == "whsec" else Ed25519Key.from_bytes(key)


def signature_headers(
    keys: Sequence[Key], message_id: str, timestamp: int, body: bytes
) -> dict[str, str]:
    """webhook-id, webhook-timestamp and webhook-signature, one signature per key.

    `timestamp`: whole Unix seconds of this attempt; the gateway takes it within five minutes.
    Raises ValueError for an id that the gateway would refuse, and without any key.
    """
    if _MESSAGE_ID.fullmatch(message_id) is None:
        raise ValueError("webhook-id: 1 to 256 of A-Z a-z 0-9 _ - : ~ + / = @ |, and no full stop")
    if not keys:
        raise ValueError("a signal is signed by at least one key")
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(key.sign(signed) for key in keys),
    }


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
