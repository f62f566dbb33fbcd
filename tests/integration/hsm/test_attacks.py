"""What the owner of a daemon's PIN tries with direct calls, and does not get."""

import hmac
from uuid import uuid4

import pytest
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import (
    AttributeReadOnly,
    AttributeSensitive,
    KeyUnextractable,
    MechanismInvalid,
    PKCS11Error,
    TemplateInconsistent,
)

from hsm.enrol import encrypt_key, encrypt_secret
from hsm.enroller import EnrolDesk
from hsm.envelope import unpack
from hsm.protocol import EnrolKey, SealKey, SealSecret
from hsm.templates import ENROL_LABEL, ENROLLED_SECRET, KWP, OAEP, SIGNING_KEY, key_label
from tests.integration.hsm.conftest import enrol_token, signing_token

A = Attribute
NONE = MechanismFlag(0)
TENANT, ACCOUNT = uuid4(), uuid4()


@pytest.fixture
def rows(softhsm) -> dict[str, bytes]:
    """Two tokens, one tenant: the enrol public key, one sealed key, one sealed secret."""
    softhsm.init(TENANT)
    with enrol_token(softhsm) as anchor:
        worker = EnrolDesk(anchor).worker()
        pem = worker.serve(EnrolKey(1))
        key, secret = encrypt_key(pem, b"secret"), encrypt_secret(pem, b"whsec")
        return {
            "pem": pem,
            "key": worker.serve(SealKey(1, TENANT, ACCOUNT, "gateio", key)),
            "secret": worker.serve(SealSecret(1, TENANT, "s", "hook", secret)),
        }


def find(anchor, label, kind=ObjectClass.SECRET_KEY):
    (key,) = anchor.session.get_objects({A.LABEL: label, A.CLASS: kind})
    return key


def unwrap(kek, blob, template=SIGNING_KEY, key_type=KeyType.GENERIC_SECRET, mechanism=KWP):
    return kek.unwrap_key(
        ObjectClass.SECRET_KEY, key_type, blob,
        mechanism=mechanism, capabilities=NONE, template=template,
    )  # fmt: skip


def test_a_blob_unwraps_only_as_a_hidden_signing_key(softhsm, rows):
    blob = unpack(rows["key"]).wrapped
    with signing_token(softhsm) as anchor:
        kek = find(anchor, key_label("kek", TENANT, 1))
        key = unwrap(kek, blob)
        assert key.sign(b"x", mechanism=Mechanism.SHA512_HMAC) == hmac.digest(
            b"secret", b"x", "sha512"
        )
        for wider in (
            {A.EXTRACTABLE: True}, {A.SENSITIVE: False}, {A.PRIVATE: False}, {A.TOKEN: True},
            {A.DECRYPT: True}, {A.WRAP: True}, {A.DERIVE: True},
        ):  # fmt: skip
            with pytest.raises(TemplateInconsistent):
                unwrap(kek, blob, {**SIGNING_KEY, **wider})
        with pytest.raises(TemplateInconsistent):
            unwrap(kek, blob, {**SIGNING_KEY, A.KEY_TYPE: KeyType.AES}, KeyType.AES)


def test_a_blob_unwraps_by_no_other_mechanism(softhsm, rows):
    """AES-CBC or plain KW could open a blob in pieces."""
    blob = unpack(rows["key"]).wrapped
    with signing_token(softhsm) as anchor:
        kek = find(anchor, key_label("kek", TENANT, 1))
        for mechanism in (
            Mechanism.AES_CBC_PAD, Mechanism.AES_KEY_WRAP, Mechanism.AES_CBC, Mechanism.AES_ECB,
        ):  # fmt: skip
            with pytest.raises(MechanismInvalid):
                unwrap(kek, blob, mechanism=mechanism)


def test_the_unwrapped_key_does_not_come_out(softhsm, rows):
    with signing_token(softhsm) as anchor:
        key = unwrap(find(anchor, key_label("kek", TENANT, 1)), unpack(rows["key"]).wrapped)
        with pytest.raises(AttributeSensitive):
            _ = key[A.VALUE]
        with pytest.raises(AttributeReadOnly):
            key[A.EXTRACTABLE] = True
        with pytest.raises(AttributeReadOnly):
            key[A.SENSITIVE] = False
        mine = anchor.session.generate_key(KeyType.AES, 256, capabilities=MechanismFlag.WRAP)
        with pytest.raises(KeyUnextractable):
            mine.wrap_key(key, mechanism=KWP)


@pytest.mark.parametrize("role", ["kek", "open", "mac"])
def test_no_key_of_the_sign_token_gains_a_use(softhsm, rows, role):
    with signing_token(softhsm) as anchor:
        key = find(anchor, key_label(role, TENANT, 1))
        for use in (A.DECRYPT, A.ENCRYPT, A.WRAP, A.SIGN, A.MODIFIABLE):
            with pytest.raises(PKCS11Error):
                key[use] = True
            assert not key[use]
            with pytest.raises(PKCS11Error):
                key.copy({use: True, A.TOKEN: False})
        with pytest.raises(AttributeSensitive):
            _ = key[A.VALUE]
        mine = anchor.session.generate_key(KeyType.AES, 256, capabilities=MechanismFlag.WRAP)
        with pytest.raises(KeyUnextractable):
            mine.wrap_key(key, mechanism=KWP)


def test_the_sign_token_cannot_seal(softhsm, rows):
    """Neither wrap under the KEK, nor make a row's MAC, nor use AES by hand."""
    with signing_token(softhsm) as anchor:
        kek, mac = (find(anchor, key_label(role, TENANT, 1)) for role in ("kek", "mac"))
        for missing in ("wrap_key", "encrypt", "decrypt", "sign"):
            assert not hasattr(kek, missing)
        assert not hasattr(mac, "sign")
        assert hasattr(mac, "verify")


def test_a_key_blob_does_not_open_as_a_secret(softhsm, rows):
    with signing_token(softhsm) as anchor:
        opener = find(anchor, key_label("open", TENANT, 1))
        with pytest.raises(PKCS11Error):
            unwrap(opener, unpack(rows["key"]).wrapped)


def test_the_enrol_token_cannot_open_what_it_sealed(softhsm, rows):
    with enrol_token(softhsm) as anchor:
        kek = find(anchor, key_label("kek", TENANT, 1))
        for missing in ("unwrap_key", "decrypt", "encrypt", "sign"):
            assert not hasattr(kek, missing)
        with pytest.raises(PKCS11Error):
            kek[A.UNWRAP] = True
        with pytest.raises(PKCS11Error):
            kek.copy({A.UNWRAP: True, A.TOKEN: False})
        with pytest.raises(AttributeSensitive):
            _ = kek[A.VALUE]


def test_the_enrol_key_gives_nothing_that_can_be_read(softhsm, rows):
    ciphertext = encrypt_key(rows["pem"], b"secret")
    with enrol_token(softhsm) as anchor:
        private = find(anchor, ENROL_LABEL, ObjectClass.PRIVATE_KEY)
        assert not hasattr(private, "decrypt")
        for wider in ({A.SENSITIVE: False}, {A.SIGN: True}, {A.TOKEN: True}):
            with pytest.raises(TemplateInconsistent):
                private.unwrap_key(
                    ObjectClass.SECRET_KEY, KeyType.GENERIC_SECRET, ciphertext,
                    mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=OAEP,
                    capabilities=NONE, template={**ENROLLED_SECRET, **wider},
                )  # fmt: skip
