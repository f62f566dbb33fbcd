"""The signer's PIN and direct C calls: no key and no secret comes out, nothing is widened."""

import hmac
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.keywrap import aes_key_wrap, aes_key_wrap_with_padding
from pkcs11 import Attribute, KeyType, ObjectClass

from hsm import ceremony
from hsm.cryptoki.library import Refused
from hsm.cryptoki.numbers import CKU_SO
from hsm.enrol import encrypt_key, encrypt_secret, framed, hmac_key
from hsm.enroller import EnrolDesk
from hsm.envelope import unpack
from hsm.protocol import EnrolKey, SealKey, SealSecret
from hsm.templates import (
    KEY_TYPES,
    LOG_PREFIX,
    LOG_PRIVATE,
    SIGN_SIDE,
    SIGNING_KEY,
    key_label,
)
from tests.integration.hsm.attacks import moves
from tests.integration.hsm.attacks.thief import (
    Target,
    Weakness,
    break_in,
    each,
    is_seed_of,
    makes,
    opens,
)
from tests.integration.hsm.conftest import enrol_token

A = Attribute
SECRET = b"a broker's API secret, 32 bytes!"
HOOK = b"whsec of a sender, 24 bytes"
TENANT, OTHER = uuid4(), uuid4()
WEAK_VALUE = bytes(range(100, 132))
TEXT = b"still the same key"

READABLE: Weakness = {A.SENSITIVE: False, A.EXTRACTABLE: True}
EXTRACTABLE: Weakness = {A.EXTRACTABLE: True}
ANY_MECHANISM: Weakness = {A.ALLOWED_MECHANISMS: None}

ATTACKS: list[tuple[moves.Move, dict[str, Weakness]]] = [
    (moves.read_its_value, each("kek open mac session log", READABLE)),
    (moves.wrap_it_out, each("kek open mac session", EXTRACTABLE)),
    (moves.wrap_it_out_under_rsa, each("kek open mac session", EXTRACTABLE)),
    (moves.try_every_handle, each("kek open mac session log", READABLE)),
    (moves.derive_from_it, each("kek open", {A.DERIVE: True, **ANY_MECHANISM})),
    (moves.set_it_weaker, each("kek open mac log", {A.MODIFIABLE: True})),
    (moves.copy_it_weaker, each("kek open mac log", {A.MODIFIABLE: True})),
    (moves.keep_a_copy, each("kek open mac log", {A.MODIFIABLE: True})),
    (moves.use_it_otherwise, {
        "kek": {A.ENCRYPT: True, **ANY_MECHANISM}, "open": {A.DECRYPT: True, **ANY_MECHANISM},
        "mac": {A.SIGN: True}, "session": {A.VERIFY: True},
    }),
    (moves.verify_by_another_mechanism, {"mac": ANY_MECHANISM}),
    (moves.seal_under_it, each("kek open", {A.WRAP: True})),
    (moves.decrypt_the_blob, each("kek open", {A.DECRYPT: True, **ANY_MECHANISM})),
    (moves.unwrap_it_wider, {"kek": {A.UNWRAP_TEMPLATE: None}}),
]  # fmt: skip
CASES = [
    pytest.param(move, aim, weakness, id=f"{move.__name__}-{aim}")
    for move, aims in ATTACKS
    for aim, weakness in aims.items()
]


@pytest.fixture(scope="module")
def enrolled(vault_without_daemons):
    """Two tenants' keys by the ceremony; one sealed key and one sealed secret of the first."""
    softhsm = vault_without_daemons
    softhsm.init(TENANT, OTHER)
    public = ceremony.create_log_key(softhsm.settings, "log", "example.org/log")
    with enrol_token(softhsm) as anchor:
        worker = EnrolDesk(anchor).worker()
        pem = worker.serve(EnrolKey(1))
        key = worker.serve(SealKey(1, TENANT, uuid4(), "gateio", encrypt_key(pem, SECRET)))
        secret = worker.serve(SealSecret(1, TENANT, "s", "hook", encrypt_secret(pem, HOOK)))
    return softhsm, unpack(key), unpack(secret), public


@pytest.fixture
def thief(enrolled):
    with break_in(enrolled[0], "signer") as thief:
        yield thief
        assert thief.attempts, "an attack that tries nothing proves nothing"


@pytest.fixture
def strong(thief, enrolled):
    """The target as the ceremony and the signer make it."""
    _, key_row, secret_row, public = enrolled

    def target(aim: str) -> Target:
        blobs = {
            "kek": (key_row.wrapped, hmac_key(SECRET)),
            "open": (secret_row.wrapped, framed(HOOK)),
        }
        if aim in blobs:
            blob, secret = blobs[aim]
            return Target(
                aim, thief.find(key_label(aim, TENANT, 1)), opens(blob, secret), blob, secret
            )
        if aim == "mac":
            proof = makes(key_row.under_mac(), key_row.mac, "sha256")
            return Target(aim, thief.find(key_label("mac", TENANT, 1)), proof)
        if aim == "log":
            key = thief.find(LOG_PREFIX + "log", ObjectClass.PRIVATE_KEY)
            return Target(aim, key, is_seed_of(public))
        kek = thief.find(key_label("kek", TENANT, 1))
        key = thief.session.unwrap(0x210A, kek, key_row.wrapped, SIGNING_KEY)
        mac = hmac.digest(SECRET, TEXT, "sha512")
        assert thief.session.sign(0x271, key, TEXT) == mac, "it signs, which is what it is for"
        return Target("session", key, makes(TEXT, mac, "sha512"), secret=SECRET)

    return target


@pytest.fixture
def weak(thief):
    """The same target but for one weakness, its value chosen by us."""

    def target(aim: str, weakness: Weakness, seal=aes_key_wrap_with_padding) -> Target:
        if aim in ("kek", "open"):
            secret = hmac_key(SECRET) if aim == "kek" else framed(HOOK)
            blob = seal(WEAK_VALUE, secret)
            key = thief.plant(
                SIGN_SIDE[aim], weakness,
                CLASS=ObjectClass.SECRET_KEY, KEY_TYPE=KEY_TYPES[aim], VALUE=WEAK_VALUE,
            )  # fmt: skip
            return Target(aim, key, opens(blob, secret), blob, secret)
        if aim == "log":
            seed = Ed25519PrivateKey.from_private_bytes(WEAK_VALUE)
            key = thief.plant(
                LOG_PRIVATE, weakness, CLASS=ObjectClass.PRIVATE_KEY, KEY_TYPE=KeyType.EC_EDWARDS,
                EC_PARAMS=bytes.fromhex("06032b6570"), VALUE=WEAK_VALUE,
            )  # fmt: skip
            return Target(aim, key, is_seed_of(seed.public_key().public_bytes_raw()))
        template = SIGNING_KEY if aim == "session" else SIGN_SIDE["mac"]
        value = SECRET.ljust(64, b"\0") if aim == "session" else WEAK_VALUE
        key = thief.plant(
            template, weakness,
            CLASS=ObjectClass.SECRET_KEY, KEY_TYPE=KeyType.GENERIC_SECRET, VALUE=value,
        )  # fmt: skip
        digest = "sha512" if aim == "session" else "sha256"
        return Target(aim, key, makes(TEXT, hmac.digest(value, TEXT, digest), digest), secret=value)

    return target


@pytest.mark.parametrize(("move", "aim", "weakness"), CASES)
def test_the_attack_fails(thief, strong, move, aim, weakness):
    assert move(thief, strong(aim)) is None


@pytest.mark.parametrize(("move", "aim", "weakness"), CASES)
def test_its_control_succeeds_on_the_weak_key(thief, weak, move, aim, weakness):
    assert move(thief, weak(aim, weakness))


@pytest.mark.parametrize("aim", ["kek", "open"])
def test_a_key_unwraps_by_its_one_mechanism_only(thief, strong, weak, aim):
    """Tried with what the ceremony made, and with twins under which plain KW has sealed."""
    assert moves.unwrap_it_by_another_mechanism(thief, strong(aim)) is None
    assert moves.unwrap_it_by_another_mechanism(thief, weak(aim, {}, aes_key_wrap)) is None
    control = weak(aim, ANY_MECHANISM, aes_key_wrap)
    assert moves.unwrap_it_by_another_mechanism(thief, control) == "unwrapped by AES_KEY_WRAP"


@pytest.mark.parametrize("aim", ["kek", "open"])
def test_no_altered_blob_unwraps(thief, strong, aim):
    """Each bit turned, truncated, longer, halves exchanged; the control is the blob as it was."""
    target = strong(aim)
    altered = list(moves.altered_blobs(target.blob))
    assert len(altered) > 8 * len(target.blob)
    assert moves.unwrap_one_of(thief, target, altered) is None
    assert moves.unwrap_one_of(thief, target, [*altered, target.blob])


def test_a_blob_opens_under_its_own_tenants_key_alone(thief, strong, enrolled):
    """Another tenant's, the other role's, and none at all; the control is the right key."""
    blobs = {aim: strong(aim).blob for aim in ("kek", "open")}
    for tenant in (TENANT, OTHER):
        for role in ("kek", "open"):
            for aim, blob in blobs.items():
                key = thief.find(key_label(role, tenant, 1))
                target = Target("another", key, lambda _: False, blob)
                won = moves.use_anothers_blob(thief, target)
                assert bool(won) is (tenant == TENANT and role == aim), (tenant, role, aim)


def test_without_the_login_nothing_of_ours_is_there(enrolled):
    with break_in(enrolled[0], "signer") as thief:
        public = thief.session.create(
            {A.CLASS: ObjectClass.DATA, A.TOKEN: False, A.PRIVATE: False, A.LABEL: "control"}
        )
        assert len(thief.session.find({A.CLASS: ObjectClass.SECRET_KEY})) == 6
        thief.session.logout()
        assert thief.session.find({A.CLASS: ObjectClass.SECRET_KEY}) == []
        assert thief.session.find({A.CLASS: ObjectClass.PRIVATE_KEY}) == []
        assert thief.session.find({A.LABEL: "control"}) == [public]


def test_the_signers_pin_makes_no_security_officer(enrolled):
    """He could set a new user PIN. The control is the officer's own PIN."""
    softhsm = enrolled[0]
    signer, officer = (
        path.read_text().strip()
        for path in (softhsm.settings.sign_pin_file, softhsm.settings.sign_so_pin_file)
    )
    with break_in(softhsm, "signer") as thief:
        thief.session.logout()
        with pytest.raises(Refused, match="PIN_INCORRECT"):
            thief.session.login(signer, CKU_SO)
        thief.session.login(officer, CKU_SO)


def test_the_signers_pin_opens_no_other_token(enrolled):
    """The control is the enroller's PIN at the enroller's token."""
    settings = enrolled[0].settings
    with break_in(enrolled[0], "signer") as thief:
        session = thief.library.open(thief.library.slot_of(settings.enrol_label))
        assert session.find({A.CLASS: ObjectClass.SECRET_KEY}) == []
        with pytest.raises(Refused, match="PIN_INCORRECT"):
            session.login(settings.sign_pin_file.read_text().strip())
        session.login(settings.enrol_pin_file.read_text().strip())
        assert len(session.find({A.CLASS: ObjectClass.SECRET_KEY})) == 6


def test_this_library_hands_out_no_operation_state(thief, strong):
    """C_GetOperationState could hold a key schedule. SoftHSM has no such call, so no control either."""
    thief.attempt(lambda session: session.begin("C_SignInit", 0x271, strong("session").key))
    with pytest.raises(Refused, match="FUNCTION_NOT_SUPPORTED"):
        thief.session.operation_state()
