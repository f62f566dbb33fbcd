"""The tenant's audit key, encrypted to an examiner's public key: reading without our services. Pure.

Made when an examiner is appointed, by two people; given out with packages of sealed records. Whoever
has the private key opens the tenant's audit key, with it the data keys, with them the payloads
(audit/sealing.py), while nothing of ours runs.

    RSA-OAEP-256   encrypted = RSAES-OAEP(SHA-256, MGF1-SHA-256, no label) of the 32 bytes; 3072 bits
                   or more. `openssl pkeyutl -decrypt -pkeyopt rsa_padding_mode:oaep
                   -pkeyopt rsa_oaep_md:sha256` opens it.
    X25519-HKDF-SHA256-A256GCM
                   ephemeral = a fresh public key; shared = X25519(ephemeral, the examiner's);
                   key = HKDF-SHA256(shared, salt = ephemeral ‖ the examiner's, info = below ‖ tenant);
                   encrypted = 12-byte nonce ‖ AES-256-GCM(key, 32 bytes, associated data = tenant)

Standard library and `cryptography` only: the reader opens it with this file.
"""

from __future__ import annotations

import base64
import binascii
import os
from hashlib import sha256
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from audit.malformed import Malformed

FORMAT = "portcullis-escrow@v1"
RSA, X25519 = "RSA-OAEP-256", "X25519-HKDF-SHA256-A256GCM"
RSA_BITS_LEAST = 3072
KEY_BYTES = 32
_INFO = b"portcullis/audit-escrow/v1\x00"
_OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)

PublicKey = RSAPublicKey | X25519PublicKey
PrivateKey = RSAPrivateKey | X25519PrivateKey


def read_public_key(pem: str) -> PublicKey:
    """An examiner's key. Raises Malformed for another kind, a short one, or no PEM."""
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise Malformed("a public key in PEM (SubjectPublicKeyInfo) is needed") from None
    if isinstance(key, X25519PublicKey):
        return key
    if isinstance(key, RSAPublicKey):
        if key.key_size < RSA_BITS_LEAST:
            raise Malformed(f"an RSA key has {RSA_BITS_LEAST} bits or more, not {key.key_size}")
        return key
    raise Malformed("an RSA or X25519 key is needed")


def fingerprint(key: PublicKey) -> str:
    """SHA-256 of its SubjectPublicKeyInfo, as hex: what two people compare."""
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def encrypt(audit_key: bytes, tenant: UUID, key: PublicKey) -> dict[str, Any]:
    """The escrow of `audit_key` (32 bytes) for the key's owner, JSON-able."""
    if len(audit_key) != KEY_BYTES:
        raise Malformed(f"an audit key has {KEY_BYTES} bytes")
    made = {"format": FORMAT, "tenant": str(tenant), "public_key_sha256": fingerprint(key)}
    if isinstance(key, RSAPublicKey):
        return made | {"algorithm": RSA, "encrypted": _b64(key.encrypt(audit_key, _OAEP))}
    fresh = X25519PrivateKey.generate()
    ephemeral = fresh.public_key().public_bytes_raw()
    wrapping = _derive(fresh.exchange(key), ephemeral, key.public_bytes_raw(), tenant)
    nonce = os.urandom(12)
    sealed = nonce + AESGCM(wrapping).encrypt(nonce, audit_key, tenant.bytes)
    return made | {"algorithm": X25519, "ephemeral": _b64(ephemeral), "encrypted": _b64(sealed)}


def decrypt(escrow: dict[str, Any], key: PrivateKey) -> tuple[UUID, bytes]:
    """The tenant and its audit key. Raises Malformed for another's escrow or altered bytes."""
    try:
        if escrow["format"] != FORMAT or escrow["public_key_sha256"] != fingerprint(
            key.public_key()
        ):
            raise Malformed("this escrow was made for another key")
        tenant = UUID(escrow["tenant"])
        encrypted = base64.b64decode(escrow["encrypted"], validate=True)
        if isinstance(key, RSAPrivateKey) and escrow["algorithm"] == RSA:
            audit_key = key.decrypt(encrypted, _OAEP)
        elif isinstance(key, X25519PrivateKey) and escrow["algorithm"] == X25519:
            ephemeral = base64.b64decode(escrow["ephemeral"], validate=True)
            shared = key.exchange(X25519PublicKey.from_public_bytes(ephemeral))
            own = key.public_key().public_bytes_raw()
            wrapping = AESGCM(_derive(shared, ephemeral, own, tenant))
            audit_key = wrapping.decrypt(encrypted[:12], encrypted[12:], tenant.bytes)
        else:
            raise Malformed("the escrow's algorithm is not the key's")
    except (KeyError, TypeError, ValueError, AttributeError, InvalidTag, binascii.Error) as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed("the escrow does not open: altered, or not one of ours") from None
    if len(audit_key) != KEY_BYTES:
        raise Malformed("the escrow holds no audit key")
    return tenant, audit_key


def _derive(shared: bytes, ephemeral: bytes, own: bytes, tenant: UUID) -> bytes:
    salt, info = ephemeral + own, _INFO + tenant.bytes
    return HKDF(hashes.SHA256(), KEY_BYTES, salt, info).derive(shared)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
