"""Checks of HMAC, Ed25519 and ECDSA against known answers, and of how quickly a key is found."""

from __future__ import annotations

import time
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from hsm.conformance.bench import GENERIC, Bench, refused
from hsm.conformance.check import DoesNotHold, check, must
from hsm.cryptoki.session import Session
from hsm.templates import ED25519, LOG_PRIVATE, LOG_PUBLIC

A = Attribute
TEXT = b"conformance"

RFC_4231: tuple[tuple[bytes, bytes, str, str], ...] = (
    (
        b"\x0b" * 20, b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
        "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
    ),
    (
        b"Jefe", b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
        "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
    ),
    (
        b"\xaa" * 20, b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39"
        "bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
    ),
    (
        b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
        "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
    ),
)  # fmt: skip
"""RFC 4231, test cases 1, 2, 3 and 6: key, data, HMAC-SHA-256, HMAC-SHA-512."""

RFC_8032 = (
    bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
    b"\x72",
    bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    ),
)
"""RFC 8032, 7.1, test 2: secret key, message, signature."""

FEW, MANY = 100, 2000
P256 = bytes.fromhex("06082a8648ce3d030107")  # the OID of secp256r1, DER


def _hmac(bench: Bench, mechanism: Mechanism, key: bytes, data: bytes) -> str:
    handle = bench.key(key, GENERIC, A.SIGN)
    with bench.temporary(handle):
        return bench.session.sign(mechanism, handle, data).hex()


@check("Every order is signed by it. Keys are padded with zeros to 64 bytes, as ours are.")
def hmac_sha512_is_that_of_rfc_4231(bench: Bench) -> None:
    for number, (key, data, _, wanted) in enumerate(RFC_4231, 1):
        padded = key.ljust(64, b"\0")
        must(_hmac(bench, Mechanism.SHA512_HMAC, padded, data) == wanted, f"case {number} differs")


@check("Trap 7: SoftHSM refuses HMAC-SHA-512 keys under 64 bytes, which is why we pad.")
def hmac_sha512_takes_short_keys(bench: Bench) -> None:
    key, data, _, wanted = RFC_4231[0]
    must(_hmac(bench, Mechanism.SHA512_HMAC, key, data) == wanted, "another signature")


@check("Each row's MAC: a key of 32 bytes.")
def hmac_sha256_is_that_of_rfc_4231(bench: Bench) -> None:
    for number, (key, data, wanted, _) in enumerate(RFC_4231, 1):
        padded = key.ljust(32, b"\0")
        must(_hmac(bench, Mechanism.SHA256_HMAC, padded, data) == wanted, f"case {number} differs")


@check("The signer verifies rows inside the token: a wrong MAC must be a clear no.")
def a_wrong_mac_is_refused(bench: Bench) -> None:
    key = bench.key(bytes(32), GENERIC, A.VERIFY)
    mac = bytes.fromhex(_hmac(bench, Mechanism.SHA256_HMAC, bytes(32), TEXT))
    bench.session.verify(Mechanism.SHA256_HMAC, key, TEXT, mac)
    for one in (
        bytes([mac[0] ^ 1]) + mac[1:],
        mac[:31],
        mac[:16],
        mac[:1],
        mac + b"\0",
        bytes(32),
        b"",
    ):
        said = refused(bench.session.verify, Mechanism.SHA256_HMAC, key, TEXT, one)
        must(said is not None, f"a wrong MAC of {len(one)} bytes is taken")


def _log_pair(bench: Bench, **more: object) -> tuple[int, int]:
    private = {A.TOKEN: False, **bench.profile.fit(LOG_PRIVATE)}
    private.update({Attribute[name]: value for name, value in more.items()})
    return bench.session.generate_pair(
        Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
        {A.TOKEN: False, **bench.profile.fit(LOG_PUBLIC)}, private,
    )  # fmt: skip


@check("The log's checkpoints: the C2SP formats know Ed25519 alone.")
def ed25519_keys_are_made_and_sign(bench: Bench) -> None:
    public, private = _log_pair(bench)
    point = bench.session.get(public, A.EC_POINT)[-32:]
    signature = bench.session.sign(Mechanism.EDDSA, private, TEXT)
    try:
        Ed25519PublicKey.from_public_bytes(point).verify(signature, TEXT)
    except InvalidSignature:
        raise DoesNotHold("nobody else verifies its signature") from None


@check("It is RFC 8032's, and a key of ours from elsewhere can go in.")
def ed25519_is_that_of_rfc_8032(bench: Bench) -> None:
    seed, message, wanted = RFC_8032
    key = bench.session.create(
        {
            A.CLASS: ObjectClass.PRIVATE_KEY, A.KEY_TYPE: KeyType.EC_EDWARDS, A.TOKEN: False,
            A.EC_PARAMS: ED25519, A.VALUE: seed, **bench.profile.fit(LOG_PRIVATE),
        }
    )  # fmt: skip
    must(bench.session.sign(Mechanism.EDDSA, key, message) == wanted, "another signature")


@check("Two HSMs with the same log key: it would have to travel wrapped.")
def ed25519_keys_travel_wrapped(bench: Bench) -> None:
    kek = bench.key(bytes(32), KeyType.AES, A.WRAP)
    _, private = _log_pair(bench, EXTRACTABLE=True)
    bench.session.wrap(bench.profile.kwp_number, kek, private)


@check("The common core for checkpoints where a token has no Ed25519.")
def ecdsa_p256_signs_a_digest(bench: Bench) -> None:
    public, private = bench.session.generate_pair(
        Mechanism.EC_KEY_PAIR_GEN,
        {A.EC_PARAMS: P256, A.VERIFY: True, A.TOKEN: False},
        {A.SIGN: True, A.SENSITIVE: True, A.EXTRACTABLE: False, A.PRIVATE: True, A.TOKEN: False},
    )
    point = bench.session.get(public, A.EC_POINT)[-65:]
    raw = bench.session.sign(Mechanism.ECDSA, private, sha256(TEXT).digest())
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    try:
        key.verify(der, sha256(TEXT).digest(), ec.ECDSA(Prehashed(SHA256())))
    except InvalidSignature:
        raise DoesNotHold("nobody else verifies its signature") from None


@check("Trap 8: a search by label is linear in most tokens. It is never on the way of an order.")
def a_search_by_label_does_not_grow(bench: Bench) -> str | None:
    session = bench.open()
    try:
        few = _search_s(bench, session, 0, FEW)
        many = _search_s(bench, session, FEW, MANY)
    finally:
        session.close()
    told = f"{few * 1e6:.0f} µs among {FEW} keys, {many * 1e6:.0f} µs among {MANY}"
    must(many < 4 * few, told)
    return told


def _search_s(bench: Bench, session: Session, start: int, stop: int) -> float:
    """Seconds of the quickest of many searches, once keys up to `stop` are there."""
    for number in range(start, stop):
        session.create(bench.template(GENERIC, A.SIGN, VALUE=bytes(64), LABEL=f"key {number}"))
    times = []
    for _ in range(25):
        started = time.perf_counter()
        session.find({A.LABEL: f"key {start}", A.CLASS: ObjectClass.SECRET_KEY})
        times.append(time.perf_counter() - started)
    return min(times)
