"""Two HSMs: a version is in both or is none, and what ends, ends in both."""

from __future__ import annotations

from uuid import uuid4

import pytest
from pkcs11 import Attribute

from hsm import ceremony, ending, rotation
from hsm.check import check
from hsm.enrol import encrypt_key
from hsm.enroller import EnrolDesk
from hsm.errors import CeremonyRefused
from hsm.protocol import EnrolKey, SealKey
from hsm.templates import key_label
from tests.integration.hsm.test_mirror import two

__all__ = ["two"]

pytestmark = pytest.mark.longer


def test_a_rotation_is_whole_in_both_and_an_off_boarding_leaves_nothing_in_either(two):
    softhsm, _, tenant = two
    with ceremony.tokens(softhsm.settings) as (enrol, _):
        worker = EnrolDesk(enrol[1]).worker()
        ciphertext = encrypt_key(worker.serve(EnrolKey(1)), b"secret")
        row = worker.serve(SealKey(1, tenant, uuid4(), "gateio", ciphertext))
    facts = rotation.rotate_tenant_keys(softhsm.settings, tenant, 1)
    assert (facts.versions, len(facts.made)) == ((2,), 12)
    assert len(rotation.rotate_enrol_key(softhsm.settings, 1).made) == 4
    assert check(softhsm.settings) == []
    assert [one.outcome for one in ending.tried(softhsm.settings, [row])] == ["opens"]
    assert len(ending.retire_enrol_key(softhsm.settings, 1).destroyed) == 4
    done = ending.destroy_tenant_keys(softhsm.settings, tenant, [row])
    assert len(done.destroyed) == 24
    assert [one.outcome for one in done.tried] == ["hsm_key_missing"]
    assert check(softhsm.settings) == []


def test_a_row_that_opens_at_one_of_them_is_not_destroyed(two):
    """The first HSM's token has lost the key, the second has it: that counts as opening."""
    softhsm, _, tenant = two
    with ceremony.tokens(softhsm.settings) as (enrol, sign):
        worker = EnrolDesk(enrol[0]).worker()
        ciphertext = encrypt_key(worker.serve(EnrolKey(1)), b"secret")
        row = worker.serve(SealKey(1, tenant, uuid4(), "gateio", ciphertext))
        for label in (key_label(role, tenant, 1) for role in ceremony.ROLES):
            (key,) = sign[0].session.get_objects({Attribute.LABEL: label})
            key.destroy()
    assert [one.outcome for one in ending.tried(softhsm.settings, [row])] == ["opens"]
    with pytest.raises(CeremonyRefused, match="has no keys"):
        rotation.rotate_tenant_keys(softhsm.settings, tenant, 1)
