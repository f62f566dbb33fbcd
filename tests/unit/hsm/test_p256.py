"""What a token says of P-256, as notes and other readers want it."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from audit.note import ECDSA_P256, VerifierKey
from audit.ports import p256_label as asked
from hsm import p256, templates

KEY = ec.derive_private_key(12345, ec.SECP256R1())
POINT = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def test_a_point_with_its_header_or_without_is_the_same_key():
    spki = p256.spki(b"\x04\x41" + POINT)
    assert spki == p256.spki(POINT)
    assert len(spki) == 91
    assert load_der_public_key(spki).public_numbers() == KEY.public_key().public_numbers()


def test_what_a_token_signs_verifies_in_a_note():
    text = b"log.test/1\n1\nAAAA\n"
    r, s = decode_dss_signature(KEY.sign(p256.digest(text), ec.ECDSA(Prehashed(SHA256()))))
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    verifier = VerifierKey("log.test/1", p256.spki(POINT), ECDSA_P256)
    assert verifier.verifies(text, p256.der(raw))
    assert not verifier.verifies(text + b"\n", p256.der(raw))


def test_asker_and_token_call_the_second_pair_the_same():
    assert asked("a/log@v2") == templates.p256_label("a/log@v2")
    assert templates.is_p256(asked("a/log"))
    assert not templates.is_p256("a/log")
