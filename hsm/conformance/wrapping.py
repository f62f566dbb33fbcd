"""Checks of AES-KWP and RSA-OAEP: what seals and what opens."""

from __future__ import annotations

import hmac
import secrets

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from pkcs11 import MGF, Attribute, KeyType, Mechanism

from hsm.conformance.bench import GENERIC, Bench, refused
from hsm.conformance.check import DoesNotHold, check, must
from hsm.cryptoki.library import Refused
from hsm.cryptoki.numbers import name_of_result
from hsm.cryptoki.session import oaep
from hsm.enrol import KEY_BYTES, MAX_SECRET_BYTES
from hsm.templates import ENROL_PRIVATE, ENROL_PUBLIC, ENROLLED_SECRET, RSA_BITS

A = Attribute
WRAP, UNWRAP = 0x20000, 0x40000  # CKF_WRAP, CKF_UNWRAP
TEXT = b"conformance"

RFC_5649_KEK = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
RFC_5649 = (
    (
        bytes.fromhex("c37b7e6492584340bed12207808941155068f738"),
        bytes.fromhex("138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"),
    ),
    (
        bytes.fromhex("466f7250617369"),
        bytes.fromhex("afbeb0f07dfbf5419200f2ccb50bb24f"),
    ),
)
"""RFC 5649, section 6: 20 and 7 bytes under a key of 192 bits."""

NAMED = {
    "CKR_WRAPPED_KEY_INVALID", "CKR_WRAPPED_KEY_LEN_RANGE", "CKR_ENCRYPTED_DATA_INVALID",
    "CKR_ENCRYPTED_DATA_LEN_RANGE",
}  # fmt: skip


def _kek(bench: Bench, value: bytes, *uses: Attribute) -> int:
    return bench.key(value, KeyType.AES, *(uses or (A.WRAP, A.UNWRAP)))


def _sign_template(bench: Bench, **more: object) -> dict[Attribute, object]:
    return bench.template(GENERIC, A.SIGN, **more)


@check("Every seal of ours is AES-KWP, under the number that the profile gives.")
def kwp_wraps_and_unwraps_under_its_number(bench: Bench) -> None:
    flags = bench.library.mechanisms(bench.slot).get(bench.profile.kwp_number)
    must(flags is not None, f"no mechanism {bench.profile.kwp_number:#x}")
    must(bool((flags or 0) & WRAP) and bool((flags or 0) & UNWRAP), "it does not wrap and unwrap")


@check("What one token sealed another must open: the bytes are SP 800-38F's, not a vendor's own.")
def kwp_is_that_of_sp_800_38f(bench: Bench) -> None:
    value = secrets.token_bytes(32)
    kek = _kek(bench, value)
    for size in KEY_BYTES:
        secret = secrets.token_bytes(size)
        key = bench.key(secret, GENERIC, EXTRACTABLE=True)
        blob = bench.session.wrap(bench.profile.kwp_number, kek, key)
        must(blob == aes_key_wrap_with_padding(value, secret), f"{size} bytes: other bytes")


@check("Rows hold what hsm/enrol.py makes: every multiple of 8 up to the longest secret.")
def kwp_carries_every_multiple_of_eight(bench: Bench) -> str | None:
    value = secrets.token_bytes(32)
    kek = _kek(bench, value)
    sizes = range(64, MAX_SECRET_BYTES + 9, 8)
    for size in sizes:
        secret = secrets.token_bytes(size)
        blob = aes_key_wrap_with_padding(value, secret)
        try:
            key = bench.session.unwrap(bench.profile.kwp_number, kek, blob, _sign_template(bench))
        except Refused as error:
            raise DoesNotHold(f"{size} bytes: {error}") from None
        with bench.temporary(key):
            song = bench.session.sign(Mechanism.SHA512_HMAC, key, TEXT)
        must(song == hmac.digest(secret, TEXT, "sha512"), f"{size} bytes: another key")
    return f"{sizes[0]} to {sizes[-1]} bytes"


@check("Trap 7: SoftHSM's KWP is right for multiples of 8 alone, which is why we pad.")
def kwp_is_that_of_rfc_5649_for_any_length(bench: Bench) -> None:
    kek = _kek(bench, RFC_5649_KEK)
    for secret, wanted in RFC_5649:
        key = bench.key(secret, GENERIC, EXTRACTABLE=True)
        blob = bench.session.wrap(bench.profile.kwp_number, kek, key)
        must(blob == wanted, f"{len(secret)} bytes are wrapped otherwise")


@check("An altered or cut blob must give no key at all.")
def kwp_refuses_an_altered_blob(bench: Bench) -> str | None:
    value = secrets.token_bytes(32)
    kek = _kek(bench, value)
    blob = aes_key_wrap_with_padding(value, secrets.token_bytes(64))
    altered = [
        blob[:at] + bytes([blob[at] ^ 1 << at % 8]) + blob[at + 1 :] for at in range(len(blob))
    ]
    altered += [blob[:-8], blob[8:], blob[:-1], blob + bytes(8), blob[:16], b""]
    for one in altered:
        done = refused(
            bench.session.unwrap, bench.profile.kwp_number, kek, one, _sign_template(bench)
        )
        must(done is not None, f"{one.hex()} unwraps")
    return f"{len(altered)} blobs"


@check("Trap 7: where a bad blob and a dead token say the same, the canary has to tell them apart.")
def a_bad_blob_is_named(bench: Bench) -> None:
    kek = _kek(bench, bytes(32))
    blob = aes_key_wrap_with_padding(bytes(range(32)), bytes(64))
    done = refused(bench.session.unwrap, bench.profile.kwp_number, kek, blob, _sign_template(bench))
    said = "nothing: it unwraps" if done is None else name_of_result(done.result)
    must(said in NAMED, f"it says {said}")


@check("The enroller could check a secret's length; where it is not told, it counts the blob's.")
def the_length_of_an_unwrapped_key_is_told(bench: Bench) -> None:
    kek = _kek(bench, bytes(32))
    blob = aes_key_wrap_with_padding(bytes(32), bytes(64))
    key = bench.session.unwrap(bench.profile.kwp_number, kek, blob, _sign_template(bench))
    told = int.from_bytes(bench.session.get(key, A.VALUE_LEN), "little")
    must(told == 64, f"CKA_VALUE_LEN is {told}")


def _oaep_round_trip(bench: Bench, digest: hashes.HashAlgorithm, number: int, mask: int) -> str:
    """Encrypt outside, unwrap inside with the enrol key's template, wrap on and compare."""
    public, private = bench.session.generate_pair(
        Mechanism.RSA_PKCS_KEY_PAIR_GEN,
        {
            A.MODULUS_BITS: RSA_BITS, A.PUBLIC_EXPONENT: b"\x01\x00\x01", A.TOKEN: False,
            **bench.profile.fit(ENROL_PUBLIC),
        },
        {A.TOKEN: False, **bench.profile.fit(ENROL_PRIVATE)},
    )  # fmt: skip
    exponent, modulus = (
        int.from_bytes(bench.session.get(public, name), "big")
        for name in (A.PUBLIC_EXPONENT, A.MODULUS)
    )
    outside = RSAPublicNumbers(exponent, modulus).public_key()
    secret, kek_value = secrets.token_bytes(64), secrets.token_bytes(32)
    pad = padding.OAEP(padding.MGF1(digest), digest, None)
    key = bench.session.unwrap(
        oaep(number, mask), private, outside.encrypt(secret, pad),
        bench.profile.fit(ENROLLED_SECRET),
    )  # fmt: skip
    blob = bench.session.wrap(bench.profile.kwp_number, _kek(bench, kek_value), key)
    must(blob == aes_key_wrap_with_padding(kek_value, secret), "another secret came through")
    return f"RSA-{modulus.bit_length()}"


@check("Enrolment: the browser and the CLI encrypt by OAEP with SHA-1, and the token unwraps it.")
def oaep_with_sha1_unwraps(bench: Bench) -> str | None:
    sha1 = hashes.SHA1()  # noqa: S303  OAEP's mask, not a signature
    return _oaep_round_trip(bench, sha1, Mechanism.SHA_1, MGF.SHA1)


@check("The better choice for enrolment, where a token has it.")
def oaep_with_sha256_unwraps(bench: Bench) -> str | None:
    return _oaep_round_trip(bench, hashes.SHA256(), Mechanism.SHA256, MGF.SHA256)
