"""ECDSA on P-256 as PKCS#11 says it, and as everybody else writes it. Pure.

A token signs a digest (CKM_ECDSA) and gives r ‖ s; notes and OpenSSL want the DER of both. It gives a point
behind a DER header, and some tokens without one; readers want the SubjectPublicKeyInfo.
"""

from __future__ import annotations

from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

POINT_SIZE = 65
"""Of a point that is not compressed: 04, x, y."""


def digest(text: bytes) -> bytes:
    """What CKM_ECDSA is given."""
    return sha256(text).digest()


def der(signature: bytes) -> bytes:
    """The signature as notes bear it, from the token's 64 bytes."""
    half = len(signature) // 2
    r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
    return encode_dss_signature(r, s)


def spki(ec_point: bytes) -> bytes:
    """SubjectPublicKeyInfo, DER, 91 bytes, from CKA_EC_POINT with or without its header 04 41."""
    key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), ec_point[-POINT_SIZE:])
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
