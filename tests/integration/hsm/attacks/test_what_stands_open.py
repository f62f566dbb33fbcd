"""What a thief of the signer's PIN *does* get, said plainly: a test fails when it becomes better.

`docs/hsm/profiles.md` says what each means. The other one is the enroller's (see its file).
"""

import hashlib
import hmac
from uuid import uuid4

import pytest
from pkcs11 import Attribute

from hsm.enrol import encrypt_key, hmac_key
from hsm.enroller import EnrolDesk
from hsm.envelope import unpack
from hsm.protocol import EnrolKey, SealKey
from hsm.templates import SIGNING_KEY, key_label
from tests.integration.hsm.attacks.thief import break_in
from tests.integration.hsm.conftest import enrol_token

SECRET, TENANT = b"secret", uuid4()


@pytest.fixture
def unwrapped(softhsm):
    """The thief, and a session key of a sealed row that he also has."""
    softhsm.init(TENANT)
    with enrol_token(softhsm) as anchor:
        worker = EnrolDesk(anchor).worker()
        key = encrypt_key(worker.serve(EnrolKey(1)), SECRET)
        row = unpack(worker.serve(SealKey(1, TENANT, uuid4(), "gateio", key)))
    with break_in(softhsm, "signer") as thief:
        kek = thief.find(key_label("kek", TENANT, 1))
        yield thief, thief.session.unwrap(0x210A, kek, row.wrapped, SIGNING_KEY)


def test_a_pin_with_a_sealed_row_signs_any_text(unwrapped):
    """The token knows no paths: the policy guards the socket, the PIN and the rows guard this."""
    thief, key = unwrapped
    text = b"POST\n/api/v4/withdrawals\n\n\n0"
    assert thief.session.sign(0x271, key, text) == hmac.digest(SECRET, text, "sha512")


def test_a_pin_destroys_keys(unwrapped):
    """CKA_DESTROYABLE=false would end off-boarding too: a backup is what helps."""
    thief, _ = unwrapped
    thief.session.destroy(thief.find(key_label("kek", TENANT, 1)))
    assert thief.session.find({Attribute.LABEL: key_label("kek", TENANT, 1)}) == []


def test_softhsm_digests_a_hidden_key(unwrapped):
    """C_DigestKey confirms a guess of the whole secret, as any signature does; it gives no part of it."""
    thief, key = unwrapped
    assert thief.session.digest_key(0x270, key) == hashlib.sha512(hmac_key(SECRET)).digest()
