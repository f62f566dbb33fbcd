"""Signature types beside Ed25519: ECDSA P-256 (0x02) in a log's notes, cosignature/v1 (0x04) of witnesses."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit.checkpoint import Checkpoint, open_checkpoint
from audit.malformed import Malformed
from audit.note import ECDSA_P256, VerifierKey, open_note, parse_keys

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
KEY = VerifierKey("log.test/1", PRIVATE.public_key().public_bytes_raw())
CURVE = ec.derive_private_key(7, ec.SECP256R1())


def spki(curve=None) -> bytes:
    key = (curve or CURVE).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


SECOND = VerifierKey("log.test/1", spki(), ECDSA_P256)
HEAD = Checkpoint("log.test/1", 3, b"\x05" * 32)


def both() -> bytes:
    text = HEAD.text().encode()
    return HEAD.note((KEY, PRIVATE.sign(text)), (SECOND, CURVE.sign(text, ec.ECDSA(SHA256()))))


def test_the_example_of_the_signed_note_text_opens():
    """C2SP signed-note, "Example"."""
    key = VerifierKey.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    note = (
        "This is an example message.\n\n— example.com/foo "
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    assert open_note(note.encode(), key) == "This is an example message.\n"


def test_an_ecdsa_keys_id_is_the_hash_of_its_spki_alone():
    assert SECOND.key_id == sha256(spki()).digest()[:4]
    assert VerifierKey.parse(str(SECOND)) == SECOND


def test_both_lines_are_verified_and_either_key_alone_is_enough():
    note = both()
    for keys in ((KEY, SECOND), (KEY,), (SECOND,)):
        assert open_checkpoint(note, *keys) == HEAD
    assert parse_keys(f"{KEY}\n{SECOND}\n") == (KEY, SECOND)


@pytest.mark.parametrize("keys", [(KEY, SECOND), (SECOND,)])
def test_a_bad_second_signature_refuses_the_whole_note(keys):
    lines = both().decode().split("\n")
    name, data = lines[-2].split(" ")[1:]
    raw = bytearray(base64.b64decode(data))
    raw[-1] ^= 1
    lines[-2] = f"— {name} {base64.b64encode(raw).decode()}"
    with pytest.raises(Malformed, match="does not verify"):
        open_checkpoint("\n".join(lines).encode(), *keys)


def test_other_curves_and_other_spellings_of_the_key_are_refused():
    with pytest.raises(Malformed, match="P-256"):
        VerifierKey("log.test/1", spki(ec.derive_private_key(7, ec.SECP384R1())), ECDSA_P256)
    with pytest.raises(Malformed):
        VerifierKey("log.test/1", spki()[:-1], ECDSA_P256)
    with pytest.raises(Malformed):
        VerifierKey("log.test/1", spki() + b"\x00", ECDSA_P256)
    with pytest.raises(Malformed, match="type"):
        VerifierKey("log.test/1", bytes(32), 3)
