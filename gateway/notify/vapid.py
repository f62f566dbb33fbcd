"""Who sends: a tenant's signed word to a push service, for one push service and a few hours. Pure.

Source: RFC 8292. A JWT under ES256 with `aud` (the push service's origin), `exp` (at most 24 hours on) and `sub`
(whom the push service may write to); the header is `vapid t=<JWT>, k=<public key>`. A subscription that was made
for a key (section 4) takes messages under that key alone, so an endpoint is of no use without it.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey
from yarl import URL

from tenancy.errors import Invalid
from tenancy.secrecy import Plain

LIVES_S = 12 * 3600
"""Half of what is allowed, for a push service whose clock is behind ours."""


def new_key() -> tuple[bytes, Plain]:
    """A P-256 pair: the public point (65 bytes, uncompressed) and the private number (32 bytes)."""
    key = ec.generate_private_key(ec.SECP256R1())
    return point(key.public_key()), Plain(key.private_numbers().private_value.to_bytes(32, "big"))


def authorization(endpoint: str, public: bytes, private: Plain, contact: str, now_s: int) -> str:
    """The header's value. `now_s`: Unix seconds. Raises ValueError for what is no such pair."""
    key = ECKey.import_key(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": b64(public[1:33]),
            "y": b64(public[33:]),
            "d": b64(private),
        }
    )
    url = URL(endpoint)
    claims = {"aud": str(url.origin()), "exp": now_s + LIVES_S, "sub": contact}
    return f"vapid t={jwt.encode({'alg': 'ES256'}, claims, key)}, k={b64(public)}"


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    """As push services and browsers write it: X9.62, uncompressed."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def b64(value: bytes) -> str:
    """Base64 for URLs, without padding, as all of Web Push has it."""
    return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def read_b64(text: str, length: int, field: str) -> bytes:
    """The inverse, of exactly so many bytes. Raises Invalid, which names the field."""
    try:
        value = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except ValueError:
        value = b""
    if len(value) != length or b64(value) != text:
        raise Invalid(
            f"{field}: {length} bytes in base64 for URLs, unpadded, are needed", field=field
        )
    return value


def read_point(text: str, field: str) -> bytes:
    """A point of P-256 that is on the curve, 65 bytes. Raises Invalid, which names the field."""
    value = read_b64(text, 65, field)
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), value)
    except ValueError:
        raise Invalid(f"{field}: this is no point of the curve P-256", field=field) from None
    return value
