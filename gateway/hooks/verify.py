"""Is this request from who may send to this hook? Standard Webhooks, on the raw bytes.

Source: the Standard Webhooks specification 1.0, "Signature scheme" and "Webhook headers".
Pure: headers, body, secrets and the time in; Verified or a Refusal out.

1. Each of the three headers is there exactly once, short, and of its own strict shape. An id
   holds no full stop, so what was signed can be split in one way only.
2. The timestamp is within the window, both ways.
3. Every signature that was sent is compared with what every secret says, in constant time and
   without an early exit. Missing secrets are made up to a fixed number by random ones that
   nobody knows: an unknown hook, a hook with one secret and one with two cost the same.

A refusal never tells which secret or which signature was nearest.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets as chance
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

Scheme = Literal["v1", "v1a", "url_token"]
RefusalCode = Literal[
    "missing_header", "malformed_header", "bad_timestamp", "stale_timestamp", "bad_signature"
]

SECRET_PREFIX = b"whsec_"
MAX_SIGNATURES = 8
_MAX_SIGNATURE_HEADER_BYTES = 1024
_MESSAGE_ID = re.compile(rb"[0-9A-Za-z_:~+/=@|-]{1,256}")
_TIMESTAMP = re.compile(rb"[0-9]{1,11}")
_SIGNATURE_BYTES = {b"v1": 32, b"v1a": 64}
_PADDED_TO = 2


class Secret(msgspec.Struct, frozen=True):
    """One key: HMAC key bytes for v1, 32 public bytes for v1a, the SHA-256 of a token in the address."""

    scheme: Scheme
    key: bytes

    def __repr__(self) -> str:
        return f"Secret({self.scheme!r}, …)"


class Verified(msgspec.Struct, frozen=True):
    """The sender holds a secret. `timestamp`: Unix seconds of this attempt."""

    message_id: str
    timestamp: int


class Refusal(msgspec.Struct, frozen=True):
    """Why not, in words that are safe to send back."""

    code: RefusalCode
    detail: str


_DUMMY_MAC_KEYS = tuple(chance.token_bytes(32) for _ in range(_PADDED_TO))
_DUMMY_PUBLIC_KEY = Ed25519PrivateKey.generate().public_key().public_bytes_raw()


def read_secret(text: bytes) -> bytes:
    """The HMAC key that `whsec_<base64>` says. Raises ValueError, without the secret in it."""
    if not text.startswith(SECRET_PREFIX):
        raise ValueError("a webhook secret starts with whsec_")
    try:
        key = base64.b64decode(text[len(SECRET_PREFIX) :], validate=True)
    except binascii.Error:
        raise ValueError("a webhook secret is base64 after whsec_") from None
    if not 24 <= len(key) <= 64:
        raise ValueError(f"a webhook secret has 24 to 64 bytes, this one {len(key)}")
    return key


def verify(
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
    secrets: Sequence[Secret],
    *,
    now: float,
    tolerance_s: int = 300,
) -> Verified | Refusal:
    """The three steps. `headers` as ASGI gives them; `now` in Unix seconds; no secrets: refused."""
    found = _three_headers(headers)
    if isinstance(found, Refusal):
        return found
    message_id, stamp, signatures = found
    if _MESSAGE_ID.fullmatch(message_id) is None:
        return Refusal(
            "malformed_header",
            "webhook-id: 1 to 256 of A-Z a-z 0-9 _ - : ~ + / = @ | are allowed, and no full stop",
        )
    if _TIMESTAMP.fullmatch(stamp) is None:
        return Refusal("bad_timestamp", "webhook-timestamp: whole Unix seconds are needed")
    candidates = _candidates(signatures)
    if isinstance(candidates, Refusal):
        return candidates
    timestamp = int(stamp)
    if abs(now - timestamp) > tolerance_s:
        return Refusal(
            "stale_timestamp",
            f"webhook-timestamp is more than {tolerance_s} s from this host's clock",
        )
    signed = b"%b.%b.%b" % (message_id, stamp, body)
    if not _any_fits(signed, candidates, secrets):
        return Refusal("bad_signature", "no signature fits this hook and this body")
    return Verified(message_id.decode("ascii"), timestamp)


def _three_headers(
    headers: Iterable[tuple[bytes, bytes]],
) -> tuple[bytes, bytes, bytes] | Refusal:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in (b"webhook-id", b"webhook-timestamp", b"webhook-signature"):
            if name in found:
                return Refusal("malformed_header", f"{name.decode()}: sent more than once")
            found[name] = value
    for name in (b"webhook-id", b"webhook-timestamp", b"webhook-signature"):
        if not found.get(name):
            return Refusal("missing_header", f"{name.decode()}: is missing")
    return found[b"webhook-id"], found[b"webhook-timestamp"], found[b"webhook-signature"]


def _candidates(header: bytes) -> list[tuple[bytes, bytes]] | Refusal:
    """Scheme and raw signature of each that we know; unknown schemes are other people's."""
    if len(header) > _MAX_SIGNATURE_HEADER_BYTES or header.count(b" ") >= MAX_SIGNATURES:
        return Refusal(
            "malformed_header", f"webhook-signature: at most {MAX_SIGNATURES} signatures"
        )
    candidates = []
    for part in header.split(b" "):
        scheme, comma, text = part.partition(b",")
        if not comma or not scheme:
            return Refusal("malformed_header", "webhook-signature: v1,<base64> is needed")
        length = _SIGNATURE_BYTES.get(scheme)
        if length is None:
            continue
        try:
            raw = base64.b64decode(text, validate=True)
        except binascii.Error:
            return Refusal("malformed_header", "webhook-signature: not base64")
        if len(raw) != length:
            return Refusal(
                "malformed_header", f"webhook-signature: {scheme.decode()} has {length} bytes"
            )
        candidates.append((scheme, raw))
    return candidates


def _any_fits(
    signed: bytes, candidates: Sequence[tuple[bytes, bytes]], secrets: Sequence[Secret]
) -> bool:
    """All against all. A made-up secret counts for nothing even if it should fit."""
    mac_keys = [(s.key, True) for s in secrets if s.scheme == "v1"]
    mac_keys += [(key, False) for key in _DUMMY_MAC_KEYS[len(mac_keys) :]]
    public_keys = [(s.key, True) for s in secrets if s.scheme == "v1a"] or [
        (_DUMMY_PUBLIC_KEY, False)
    ]
    expected = [(hmac.digest(key, signed, hashlib.sha256), real) for key, real in mac_keys]
    fits = False
    for scheme, raw in candidates:
        if scheme == b"v1":
            for mac, real in expected:
                fits |= hmac.compare_digest(mac, raw) & real
        else:
            for key, real in public_keys:
                fits |= _ed25519_fits(key, raw, signed) & real
    return fits


def _ed25519_fits(key: bytes, signature: bytes, signed: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except InvalidSignature:
        return False
    return True
