"""Encrypt a secret so that only the enrol token can open it: the client's side of enrolment.

Runs where the secret is typed (the CLI, later the browser), never in a gateway process. The
plain text is made so that the token can use it: SoftHSM's KWP is right only for multiples of 8
and its HMAC-SHA-512 wants 64 bytes, hence

- a signing key is padded with zeros to 64 or 128 bytes: HMAC itself pads a key with zeros to its
  block (RFC 2104; 128 bytes for SHA-512), so it is the same key. One longer than the block is
  hashed first with SHA-512, as HMAC-SHA-512 does;
- a secret to be opened again carries its length in front, and zeros to a multiple of 8.
"""

from __future__ import annotations

from hashlib import sha512

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tenancy.errors import Invalid

KEY_BYTES = (64, 128)
MAX_SECRET_BYTES = 256


def hmac_key(secret: bytes) -> bytes:
    """The 64 or 128 bytes that are the same HMAC-SHA-512 key as `secret`. Raises Invalid if empty."""
    if not secret:
        raise Invalid("the API secret is empty")
    short, block = KEY_BYTES
    if len(secret) > block:
        secret = sha512(secret).digest()
    return secret.ljust(short if len(secret) <= short else block, b"\0")


def framed(secret: bytes) -> bytes:
    """Length (2 bytes), secret, zeros to a multiple of 8. Raises Invalid: empty or too long."""
    if not 0 < len(secret) <= MAX_SECRET_BYTES:
        raise Invalid(f"a secret has 1 to {MAX_SECRET_BYTES} bytes, got {len(secret)}")
    plain = len(secret).to_bytes(2, "big") + secret
    return plain.ljust(-(-len(plain) // 8) * 8, b"\0")


def unframed(plain: bytes) -> bytes:
    """The secret inside framed(). Raises Invalid where it is not one."""
    length = int.from_bytes(plain[:2], "big")
    if not 0 < length <= len(plain) - 2 or any(plain[2 + length :]):
        raise Invalid("the opened secret is not framed as enrolment frames it")
    return plain[2 : 2 + length]


def encrypt_key(public_key_pem: bytes, secret: bytes) -> bytes:
    """The ciphertext for EnrollerClient.seal_key(): an HMAC key, e.g. Gate's secret as ASCII."""
    return _oaep(public_key_pem, hmac_key(secret))


def encrypt_secret(public_key_pem: bytes, secret: bytes) -> bytes:
    """The ciphertext for EnrollerClient.seal_secret(): bytes that come out again."""
    return _oaep(public_key_pem, framed(secret))


def _oaep(public_key_pem: bytes, plain: bytes) -> bytes:
    key = load_pem_public_key(public_key_pem)
    if not isinstance(key, RSAPublicKey):
        raise Invalid("the enrol key is not an RSA key")
    sha1 = hashes.SHA1()  # noqa: S303  OAEP's mask, not a signature; SoftHSM knows no other
    mask = padding.OAEP(padding.MGF1(algorithm=sha1), algorithm=sha1, label=None)
    return key.encrypt(plain, mask)
