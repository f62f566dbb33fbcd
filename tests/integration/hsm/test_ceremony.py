"""Tokens and keys are made once, and looked at afterwards."""

import stat
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

from hsm import ceremony
from hsm.check import check
from hsm.errors import CeremonyRefused, KeyMissing, PinRefused
from hsm.templates import ENROL_SIDE, LOG_PREFIX, key_label
from hsm.token import Anchor
from tests.integration.hsm.conftest import enrol_token, signing_token


def test_pins_are_private_files_and_tokens_are_never_made_twice(softhsm):
    ceremony.init_tokens(softhsm.settings)
    for path in softhsm.directory.glob("*.pin"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    pins = {path: path.read_text() for path in softhsm.directory.glob("*.pin")}
    assert len(set(pins.values())) == 4
    with pytest.raises(CeremonyRefused, match="exists already"):
        ceremony.init_tokens(softhsm.settings)
    assert {path: path.read_text() for path in pins} == pins


def test_a_pin_file_that_is_there_is_used(softhsm):
    softhsm.settings.sign_pin_file.touch(mode=0o600)
    softhsm.settings.sign_pin_file.write_text("chosen by an officer\n")
    ceremony.init_tokens(softhsm.settings)
    assert softhsm.settings.sign_pin_file.read_text() == "chosen by an officer\n"
    with signing_token(softhsm) as anchor:
        assert anchor.label == softhsm.settings.sign_label


def test_fresh_keys_hold_every_attribute_and_a_weaker_one_is_named(softhsm):
    tenant = uuid4()
    softhsm.init(tenant)
    ceremony.create_log_key(softhsm.settings, "log")
    assert check(softhsm.settings) == []
    weak = key_label("kek", uuid4(), 1)
    with signing_token(softhsm) as anchor:
        anchor.session.generate_key(
            KeyType.AES, 256, label=weak, store=True, capabilities=MechanismFlag.UNWRAP
        )
    found = check(softhsm.settings)
    words = " ".join(finding.what for finding in found if finding.label == weak)
    assert "UNWRAP_TEMPLATE" in words
    assert "MODIFIABLE" in words


def test_a_stranger_in_a_token_is_named(softhsm):
    softhsm.init()
    with enrol_token(softhsm) as anchor:
        anchor.session.generate_key(KeyType.AES, 256, label="mine", store=True)
    (finding,) = check(softhsm.settings)
    assert finding.label == "mine"


def test_tenant_keys_are_made_once(softhsm):
    tenant = uuid4()
    softhsm.init(tenant)
    with pytest.raises(CeremonyRefused, match="already"):
        ceremony.create_tenant_keys(softhsm.settings, tenant)
    ceremony.create_tenant_keys(softhsm.settings, tenant, version=2)
    assert check(softhsm.settings) == []


def test_a_ceremony_that_died_half_way_is_done_again(softhsm):
    """Without its MAC key in the enrol token a set is remains: a fresh one takes its place."""
    tenant = uuid4()
    softhsm.init(tenant)
    with enrol_token(softhsm) as anchor:
        label = key_label("mac", tenant, 1)
        (key,) = anchor.session.get_objects({Attribute.LABEL: label})
        key.destroy()
    ceremony.create_tenant_keys(softhsm.settings, tenant)
    assert check(softhsm.settings) == []
    with signing_token(softhsm) as anchor:
        stored = list(anchor.session.get_objects({Attribute.ID: tenant.bytes}))
        assert len(stored) == 3


def test_no_transport_key_is_left_behind(softhsm):
    softhsm.init(uuid4())
    with signing_token(softhsm) as anchor:
        assert len(list(anchor.session.get_objects())) == 3


def test_a_log_key_is_a_real_ed25519_key_made_once(softhsm):
    softhsm.init()
    public = ceremony.create_log_key(softhsm.settings, "log", "example.org/log")
    assert Ed25519PublicKey.from_public_bytes(public)
    with pytest.raises(CeremonyRefused):
        ceremony.create_log_key(softhsm.settings, "log")


def test_a_wrong_pin_is_refused_with_a_name(softhsm):
    softhsm.init()
    with signing_token(softhsm) as anchor:
        module = anchor.module
        anchor.close()
        with pytest.raises(PinRefused, match="not tried again"):
            Anchor(module, softhsm.settings.sign_label, "wrong")


def test_a_missing_token_is_said_so(softhsm):
    softhsm.settings.sign_pin_file.touch(mode=0o600)
    softhsm.settings.sign_pin_file.write_text("1234\n")
    with pytest.raises(KeyMissing, match="hsm init"):
        ceremony.create_log_key(softhsm.settings, "log")


def destroy(anchor, *labels: str, kind: ObjectClass | None = None) -> None:
    for key in anchor.session.get_objects({Attribute.TOKEN: True}):
        if str(key[Attribute.LABEL]) in labels and kind in (None, key[Attribute.CLASS]):
            key.destroy()


def test_a_role_that_is_in_no_token_any_more_is_missed(softhsm):
    tenant = uuid4()
    softhsm.init(tenant)
    label = key_label("open", tenant, 1)
    for token in (enrol_token, signing_token):
        with token(softhsm) as anchor:
            destroy(anchor, label)
    found = check(softhsm.settings)
    assert {(one.token, one.label) for one in found} == {
        (softhsm.settings.enrol_label, label), (softhsm.settings.sign_label, label),
    }  # fmt: skip


@pytest.mark.parametrize("half", [ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY])
def test_half_a_pair_is_named(softhsm, half):
    softhsm.init()
    ceremony.create_log_key(softhsm.settings, "a log")
    with signing_token(softhsm) as anchor:
        destroy(anchor, LOG_PREFIX + "a log", kind=half)
    (finding,) = check(softhsm.settings)
    assert (finding.label, "one of each is needed" in finding.what) == ("log/a log", True)


def test_a_token_without_an_enrolment_pair_is_named(softhsm):
    softhsm.init()
    with enrol_token(softhsm) as anchor:
        destroy(anchor, "enrol")
    (finding,) = check(softhsm.settings)
    assert "nothing can be enrolled" in finding.what


def test_a_key_under_another_tenants_id_is_named(softhsm):
    """As whoever has the PIN could copy one, so that the enroller takes it for the other's."""
    tenant = uuid4()
    softhsm.init(tenant)
    label = key_label("mac", tenant, 1)
    with enrol_token(softhsm) as anchor:
        destroy(anchor, label)
        anchor.session.generate_key(
            KeyType.GENERIC_SECRET, 256, mechanism=Mechanism.GENERIC_SECRET_KEY_GEN, label=label,
            id=uuid4().bytes, store=True, capabilities=MechanismFlag(0),
            template={**ENROL_SIDE["mac"]},
        )  # fmt: skip
    assert [one.what for one in check(softhsm.settings)] == [
        "ID is not the tenant's that its label names"
    ]
