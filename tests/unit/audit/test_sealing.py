"""The bytes of sealed payloads: bound to tenant, subject, version and record; nothing of them shows."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from audit import sealing
from audit.malformed import Malformed

KEY, AUDIT = AESGCM(b"\x01" * 32), AESGCM(b"\x02" * 32)
ONE, OTHER = uuid4(), uuid4()
PC = b"\x07" * 32
SECRET = b'{"client":"192.0.2.1","k_rec":"00"}'


def stored(tenant=ONE, subject="account:a", version=3, pc=PC):
    return sealing.seal(KEY, tenant, subject, version, SECRET, pc)


@given(st.binary(max_size=3000), st.text(min_size=1, max_size=100), st.integers(1, 2**32 - 1))
def test_what_was_sealed_opens_again(payload, subject, version):
    made = sealing.seal(KEY, ONE, subject, version, payload, PC)
    parsed = sealing.parse(made)
    assert (parsed.subject, parsed.version) == (subject, version)
    assert sealing.open_sealed(KEY, ONE, parsed, PC) == payload
    assert sealing.is_sealed(made)


def test_nothing_of_the_payload_shows_and_no_two_are_alike():
    assert b"192.0.2.1" not in stored()
    assert b"k_rec" not in stored()
    assert stored() != stored()


@pytest.mark.parametrize(
    ("key", "tenant", "pc"),
    [(AUDIT, ONE, PC), (KEY, OTHER, PC), (KEY, ONE, b"\x08" * 32)],
    ids=["another key", "another tenant", "another record"],
)
def test_it_opens_nowhere_else(key, tenant, pc):
    with pytest.raises(Malformed):
        sealing.open_sealed(key, tenant, sealing.parse(stored()), pc)


def test_another_subject_or_version_on_the_label_does_not_open():
    for label in ({"subject": "account:b"}, {"version": 4}):
        moved = sealing.parse(stored())._replace(**label)
        with pytest.raises(Malformed):
            sealing.open_sealed(KEY, ONE, moved, PC)


def test_no_flipped_bit_opens():
    made = stored()
    for bit in range(len(made) * 8):
        bad = bytearray(made)
        bad[bit // 8] ^= 1 << bit % 8
        if not sealing.is_sealed(bytes(bad)):
            continue  # said to be in clear: its commitment does not fit, which verifiers see
        with pytest.raises(Malformed):
            sealing.open_sealed(KEY, ONE, sealing.parse(bytes(bad)), PC)


def test_what_is_cut_is_refused():
    made = stored()
    for length in range(len(made)):
        with pytest.raises(Malformed):
            sealing.open_sealed(KEY, ONE, sealing.parse(made[:length]), PC)


def test_a_wrapped_key_opens_for_its_subject_and_version_alone():
    key = os.urandom(32)
    wrapped = sealing.wrap(AUDIT, ONE, "person:p", 2, key)
    assert sealing.unwrap(AUDIT, ONE, "person:p", 2, wrapped) == key
    wrong = [(KEY, ONE, "person:p", 2), (AUDIT, OTHER, "person:p", 2),
             (AUDIT, ONE, "person:q", 2), (AUDIT, ONE, "person:p", 3)]  # fmt: skip
    for audit_key, tenant, subject, version in wrong:
        with pytest.raises(Malformed):
            sealing.unwrap(audit_key, tenant, subject, version, wrapped)


@pytest.mark.parametrize("subject", ["", "x" * 513])
def test_a_subject_has_a_length(subject):
    with pytest.raises(Malformed):
        sealing.named(subject, 1)
