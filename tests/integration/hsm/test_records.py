"""Every ceremony leaves a record that holds, and no record can be changed, removed or put in unseen."""

from __future__ import annotations

import shutil
import stat
from datetime import UTC, datetime
from hashlib import sha256
from uuid import uuid4

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pkcs11 import Attribute, KeyType, MechanismFlag

from hsm import ceremony
from hsm.check import check
from hsm.errors import SigningRefused
from hsm.record import read_records, write_record
from hsm.templates import key_label
from tenancy.errors import Invalid
from tests.integration.hsm.conftest import signing_token

AT = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.fixture
def records(softhsm):
    """Three ceremonies, each with its record: the tokens, a tenant, its log's key."""
    softhsm.init()
    tenant, directory = uuid4(), softhsm.directory / "records"

    def write(what: str, **facts: str) -> None:
        write_record(softhsm.settings, directory, what=what, who="an officer", at=AT, facts=facts)

    write("init")
    ceremony.create_tenant_keys(softhsm.settings, tenant)
    write("tenant", tenant_id=str(tenant))
    ceremony.create_log_key(softhsm.settings, "a log")
    write("log")
    return softhsm, directory, tenant


def test_a_record_tells_of_every_object_as_the_token_told_it(records):
    softhsm, directory, tenant = records
    first, second, third = (kept.record for kept in read_records(directory))
    assert (second.number, second.what, second.who, second.at) == (2, "tenant", "an officer", AT)
    assert second.facts == {"tenant_id": str(tenant)}
    assert {token.label for token in second.tokens} == {
        softhsm.settings.enrol_label, softhsm.settings.sign_label,
    }  # fmt: skip
    labels = {one.label for one in first.objects}
    assert labels == {"enrol", "record/v1"}
    made = {(one.token, one.label) for one in second.objects if one.label not in labels}
    assert made == {
        (token, key_label(role, tenant, 1))
        for token in (softhsm.settings.enrol_label, softhsm.settings.sign_label)
        for role in ceremony.ROLES
    }
    kek = next(
        one.attributes
        for one in second.objects
        if one.token == softhsm.settings.sign_label and one.label.startswith("kek/")
    )
    assert (kek["EXTRACTABLE"], kek["UNWRAP"], kek["WRAP"], kek["MODIFIABLE"]) == (
        "False", "True", "False", "False",
    )  # fmt: skip
    assert "EXTRACTABLE=False" in kek["UNWRAP_TEMPLATE"]
    assert "not told" not in kek.values()
    assert len(third.objects) == len(second.objects) + 2
    assert check(softhsm.settings) == []


def test_a_record_is_checked_with_nothing_but_its_file_and_the_key_on_paper(records):
    _, directory, _ = records
    kept = read_records(directory)
    text, line, rest = (directory / "0002.record").read_bytes().split(b"\n")
    kind, public_key, signature = line.decode().split(" ")
    assert (kind, rest, public_key) == ("ed25519", b"", kept[0].public_key)
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(
        bytes.fromhex(signature), text
    )
    before = sha256((directory / "0001.record").read_bytes()).hexdigest()
    assert msgspec.json.decode(text)["previous"] == before


def test_no_pin_and_no_secret_is_in_a_record_and_nobody_writes_over_one(records):
    softhsm, directory, _ = records
    pins = [path.read_text().strip().encode() for path in softhsm.directory.glob("*.pin")]
    assert len(pins) == 4
    for path in directory.glob("*.record"):
        assert not any(pin in path.read_bytes() for pin in pins)
        assert stat.S_IMODE(path.stat().st_mode) == 0o400


@pytest.mark.parametrize(("old", "new"), [(b'"an officer"', b'"somebody"'), (b"v1", b"v2")])
def test_a_changed_record_is_named(records, old, new):
    _, directory, _ = records
    path = directory / "0002.record"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(Invalid, match=r"0002.record: its signature does not verify"):
        read_records(directory)


def test_a_removed_record_is_missed(records):
    _, directory, _ = records
    (directory / "0002.record").unlink()
    with pytest.raises(Invalid, match=r"0003.record: record 2 is expected"):
        read_records(directory)


def test_another_record_in_its_place_is_seen_by_the_chain(records):
    """A ceremony that was done twice from the same state has two true second records."""
    softhsm, directory, _ = records
    elsewhere = softhsm.directory / "elsewhere"
    elsewhere.mkdir()
    shutil.copy2(directory / "0001.record", elsewhere)
    write_record(softhsm.settings, elsewhere, what="another", who="an officer", at=AT)
    shutil.copy2(elsewhere / "0002.record", directory / "new")
    (directory / "new").rename(directory / "0002.record")
    with pytest.raises(Invalid, match=r"0003.record: does not follow"):
        read_records(directory)


def test_records_under_somebody_elses_key_are_refused(records):
    softhsm, directory, _ = records
    key = Ed25519PrivateKey.generate()
    for path in sorted(directory.glob("*.record")):
        text = path.read_bytes().split(b"\n")[0]
        path.chmod(0o600)
        public = key.public_key().public_bytes_raw().hex()
        path.write_bytes(text + f"\ned25519 {public} {key.sign(text).hex()}\n".encode())
    with pytest.raises(Invalid, match=r"0001.record: is signed by another key"):
        read_records(directory, "00" * 32)
    with pytest.raises(Invalid, match="does not follow"):
        write_record(softhsm.settings, directory, what="next", who="an officer", at=AT)


def test_a_weaker_key_is_in_the_record_and_in_the_check(records):
    softhsm, directory, tenant = records
    label = key_label("kek", tenant, 2)
    with signing_token(softhsm) as anchor:
        anchor.session.generate_key(
            KeyType.AES, 256, label=label, store=True, capabilities=MechanismFlag.UNWRAP,
            template={Attribute.EXTRACTABLE: True},
        )  # fmt: skip
    kept = write_record(softhsm.settings, directory, what="next", who="an officer", at=AT)
    weak = next(one for one in kept.record.objects if one.label == label)
    assert weak.attributes["EXTRACTABLE"] == "True"
    said = {(one.label, one.what) for one in check(softhsm.settings)}
    assert (label, "EXTRACTABLE is not False") in said


async def test_the_signer_signs_nothing_with_the_records_key(records):
    """Its log keys are sought under another prefix, and a record is no checkpoint."""
    from hsm.client import SignerClient

    softhsm, directory, _ = records
    softhsm.start("signer")
    text = (directory / "0001.record").read_bytes().split(b"\n")[0]
    async with SignerClient(softhsm.socket("signer")) as signer:
        for label in ("record/v1", "../record/v1", "v1"):
            with pytest.raises(SigningRefused, match="not a checkpoint"):
                await signer.sign_note(label, text)
