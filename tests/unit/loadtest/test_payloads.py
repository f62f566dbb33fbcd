"""The auditor's own reading of sealed payloads agrees with the product's writing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit import sealing
from loadtest.audit.payloads import Payloads, read_audit_keys

TENANT, AUDIT_KEY, KEY, PC = uuid4(), os.urandom(32), os.urandom(32), b"\x07" * 32
SUBJECT = "account:ä"
WRAPPED = sealing.wrap(AESGCM(AUDIT_KEY), TENANT, SUBJECT, 2, KEY)
STORED = sealing.seal(AESGCM(KEY), TENANT, SUBJECT, 2, b'{"a":1}', PC)
ROW = (str(TENANT), SUBJECT, 2, WRAPPED)


def reader(key: bytes = AUDIT_KEY, row=ROW) -> Payloads:
    return Payloads({str(TENANT): key}, [row])


def test_it_opens_what_the_product_sealed():
    assert reader().open(str(TENANT), STORED, PC.hex()) == b'{"a":1}'


def test_it_reads_what_is_in_clear():
    assert Payloads().open(str(TENANT), b'{"a":1}', PC.hex()) == b'{"a":1}'


@pytest.mark.parametrize(
    ("made", "tenant", "stored", "pc"),
    [
        (Payloads(), TENANT, STORED, PC),
        (reader(key=os.urandom(32)), TENANT, STORED, PC),
        (reader(row=(str(TENANT), SUBJECT, 3, WRAPPED)), TENANT, STORED, PC),
        (reader(), uuid4(), STORED, PC),
        (reader(), TENANT, STORED, bytes(32)),
        (reader(), TENANT, STORED[:-1] + bytes([STORED[-1] ^ 1]), PC),
        (reader(), TENANT, b"\x02" + STORED[1:], PC),
        (reader(), TENANT, b"", PC),
    ],
    ids=[
        "no-key", "other-audit-key", "other-version", "other-tenant", "other-commitment", "changed-byte",
        "other-format", "nothing",
    ],
)  # fmt: skip
def test_it_opens_nothing_else(made, tenant, stored, pc):
    assert made.open(str(tenant), stored, pc.hex()) is None


def test_the_keys_come_from_a_file(tmp_path: Path):
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({str(TENANT): AUDIT_KEY.hex()}))
    assert read_audit_keys(file) == {str(TENANT): AUDIT_KEY}
    assert read_audit_keys(None) == {}
