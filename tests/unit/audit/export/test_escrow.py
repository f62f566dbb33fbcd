"""An examiner's key opens what is encrypted in a package while nothing of ours runs; nobody else's does."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import uuid

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from audit import sealing
from audit.export import escrow, kit
from audit.export.check import verify_package
from audit.export.reader import Keys, open_package, read_private_key
from audit.malformed import Malformed
from audit.verdict import OK
from tests.fakes.audit_log import KEY
from tests.fakes.audit_package import TENANT, Records, make_package

RSA_KEY = rsa.generate_private_key(65537, 3072)
AUDIT_KEY, DATA_KEY = b"\x05" * 32, b"\x06" * 32


def pem(key, passphrase=b""):
    how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def sealed_package(directory, examiner, *, erased=False):
    """Records sealed under one subject's key; with `erased` that key was destroyed before the export."""
    records = Records(20)
    wrapped = sealing.wrap(sealing.AESGCM(AUDIT_KEY), TENANT, "account:a", 1, DATA_KEY)
    line = {"subject": "account:a", "version": 1, "wrapped": base64.b64encode(wrapped).decode()}
    made = escrow.encrypt(AUDIT_KEY, TENANT, escrow.read_public_key(public_pem(examiner)))
    return make_package(
        directory, records, records.sealed(sealing.AESGCM(DATA_KEY)), sealed=True,
        beside={
            "keys.jsonl": b"" if erased else json.dumps(line).encode() + b"\n",
            "escrow/1.json": json.dumps(made).encode(),
        },
    )  # fmt: skip


@pytest.mark.parametrize("examiner", [RSA_KEY, X25519PrivateKey.generate()], ids=["rsa", "x25519"])
def test_the_examiner_opens_everything_without_us(tmp_path, examiner):
    package = sealed_package(tmp_path / "p", examiner)
    assert verify_package(package, str(KEY)).verdict.code == OK
    for path in package.rglob("*"):
        assert path.is_dir() or b"2000.5" not in path.read_bytes(), path
    (tmp_path / "key.pem").write_bytes(pem(examiner))
    done = subprocess.run(
        [sys.executable, "-I", str(package / kit.NAME), str(package), "--vkey", str(KEY),
         "--key-file", str(tmp_path / "key.pem"), "--out", str(tmp_path / "opened")],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "20 open" in done.stdout
    opened = _lines(tmp_path / "opened/records.jsonl")
    assert json.loads(opened[7]["payload"])["n"] == 7
    assert "2000.5" in (tmp_path / "opened/records.csv").read_text()


def test_openssl_opens_an_rsa_escrow_by_itself(tmp_path):
    made = escrow.encrypt(AUDIT_KEY, TENANT, RSA_KEY.public_key())
    (tmp_path / "key.pem").write_bytes(pem(RSA_KEY))
    (tmp_path / "sealed").write_bytes(base64.b64decode(made["encrypted"]))
    done = subprocess.run(
        ["openssl", "pkeyutl", "-decrypt", "-inkey", "key.pem", "-in", "sealed", "-pkeyopt",
         "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"],
        cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == AUDIT_KEY


def test_another_examiners_key_opens_nothing(tmp_path):
    package = sealed_package(tmp_path / "p", RSA_KEY)
    with pytest.raises(Malformed, match="no escrow in this package was made for this key"):
        Keys(package, X25519PrivateKey.generate())


def test_what_was_erased_before_the_export_stays_erased(tmp_path):
    package = sealed_package(tmp_path / "p", RSA_KEY, erased=True)
    assert open_package(package, Keys(package, RSA_KEY), tmp_path / "o") == {"erased": 20}


def test_a_payload_that_was_moved_to_another_record_does_not_open(tmp_path):
    package = sealed_package(tmp_path / "p", RSA_KEY)
    file = package / "records.jsonl"
    lines = _lines(file)
    lines[4]["sealed"] = lines[5]["sealed"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(Malformed, match="record 4"):
        open_package(package, Keys(package, RSA_KEY), tmp_path / "o")


@pytest.mark.parametrize("examiner", [RSA_KEY, X25519PrivateKey.generate()], ids=["rsa", "x25519"])
def test_an_escrow_is_bound_to_its_tenant_and_its_bytes(examiner):
    made = escrow.encrypt(AUDIT_KEY, TENANT, examiner.public_key())
    assert escrow.decrypt(made, examiner) == (TENANT, AUDIT_KEY)
    data = bytearray(base64.b64decode(made["encrypted"]))
    data[-1] ^= 1
    for changed in ({"encrypted": base64.b64encode(data).decode()}, {"format": "v0"}):
        with pytest.raises(Malformed):
            escrow.decrypt(made | changed, examiner)


def test_an_x25519_escrow_opens_for_its_own_tenant_alone():
    examiner = X25519PrivateKey.generate()
    made = escrow.encrypt(AUDIT_KEY, TENANT, examiner.public_key())
    with pytest.raises(Malformed):
        escrow.decrypt(made | {"tenant": str(uuid.uuid4())}, examiner)


def test_short_and_foreign_keys_are_refused():
    short = rsa.generate_private_key(65537, 2048)
    curve = ec.generate_private_key(ec.SECP256R1())
    for text, why in (
        (public_pem(short), "3072 bits"), (public_pem(curve), "RSA or X25519"), ("x", "PEM"),
        (pem(RSA_KEY).decode(), "PEM"),
    ):  # fmt: skip
        with pytest.raises(Malformed, match=why):
            escrow.read_public_key(text)


def test_a_key_with_a_passphrase_asks_for_it():
    data = pem(RSA_KEY, b"horse")
    assert read_private_key(data, lambda: "horse").key_size == 3072
    with pytest.raises(Malformed, match="passphrase"):
        read_private_key(data, lambda: "donkey")
