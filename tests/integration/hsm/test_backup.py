"""Tokens come back on a second host as they were, and from nothing but a whole copy and its passphrase."""

from __future__ import annotations

import hmac
import shutil
import time
from uuid import uuid4

import msgspec
import pytest

from hsm import backup
from hsm.backup import back_up, restore
from hsm.check import check
from hsm.client import EnrollerClient, SignerClient
from hsm.enrol import encrypt_key
from hsm.errors import CeremonyRefused, PinRefused
from hsm.policy import Request, text_to_sign
from tenancy.errors import Invalid
from tests.fixtures.softhsm import SoftHSM

PASSPHRASE = "long enough for a vault"
SECRET = b"an API secret, of some length"
PATH = "/api/v4/futures/usdt/orders"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The strength of scrypt is its library's; a test need not wait for it."""
    monkeypatch.setattr(backup, "SCRYPT_N", 2**12)


@pytest.fixture
def second_host(tmp_path):
    """Another directory, with SoftHSM's configuration and nothing else."""
    import tempfile
    from pathlib import Path

    directory = Path(tempfile.mkdtemp(prefix="pc-second-"))
    host = SoftHSM(directory)
    yield host
    host.stop_all()
    shutil.rmtree(directory, ignore_errors=True)


async def test_an_old_sealed_row_signs_rightly_on_a_second_host(softhsm, second_host):
    tenant, account = uuid4(), uuid4()
    softhsm.init(tenant)
    softhsm.start("enroller")
    async with EnrollerClient(softhsm.socket("enroller"), timeout_s=10) as enroller:
        ciphertext = encrypt_key(await enroller.public_key_pem(), SECRET)
        sealed = await enroller.seal_key(tenant, account, "gateio", ciphertext)
    softhsm.stop_all()
    copy = softhsm.directory / "copy"
    files = back_up(softhsm.directory, copy, PASSPHRASE)
    assert restore(copy, second_host.directory, PASSPHRASE) == files
    for pin in softhsm.directory.glob("*.pin"):  # apart from the copy, as they are to be kept
        shutil.copy2(pin, second_host.directory)
    shutil.rmtree(softhsm.directory / "tokens")  # the first host is gone
    assert check(second_host.settings) == []
    second_host.start("signer")
    now = int(time.time())
    async with SignerClient(second_host.socket("signer"), timeout_s=10) as signer:
        got = await signer.sign_request(
            sealed, tenant_id=tenant, account_id=account, scheme="gateio", method="POST",
            path=PATH, query="", body=b"{}", timestamp=now,
        )  # fmt: skip
    text = text_to_sign(Request("gateio", "POST", PATH, "", b"{}", now))
    assert got == hmac.digest(SECRET, text, "sha512").hex()


def test_a_copy_holds_no_pin_and_nothing_of_a_token_in_clear(softhsm):
    softhsm.init(uuid4())
    copy = softhsm.directory / "copy"
    back_up(softhsm.directory, copy, PASSPHRASE)
    data = copy.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o600
    names = [path.name for path in (softhsm.directory / "tokens").iterdir()]
    assert names
    assert not any(name.encode() in data for name in names)
    packed, _ = backup._packed(softhsm.directory)
    assert all(name.encode() in packed for name in names)  # the search would find them
    for pin in softhsm.directory.glob("*.pin"):
        assert pin.read_text().strip().encode() not in packed


def test_another_passphrase_and_an_altered_copy_do_not_open(softhsm, tmp_path):
    softhsm.init()
    copy = softhsm.directory / "copy"
    back_up(softhsm.directory, copy, PASSPHRASE)
    with pytest.raises(PinRefused, match="does not open"):
        restore(copy, tmp_path / "hsm", PASSPHRASE + "!")
    data = bytearray(copy.read_bytes())
    for at in (len(data) // 2, len(data) - 1):
        altered = bytearray(data)
        altered[at] ^= 1
        copy.write_bytes(altered)
        with pytest.raises(PinRefused, match="does not open"):
            restore(copy, tmp_path / "hsm", PASSPHRASE)
    copy.write_bytes(data[:10])
    with pytest.raises(Invalid, match="no copy"):
        restore(copy, tmp_path / "hsm", PASSPHRASE)
    assert not (tmp_path / "hsm").exists()


def test_nothing_is_written_over(softhsm, tmp_path):
    softhsm.init()
    copy = softhsm.directory / "copy"
    back_up(softhsm.directory, copy, PASSPHRASE)
    before = copy.read_bytes()
    with pytest.raises(CeremonyRefused, match="exists"):
        back_up(softhsm.directory, copy, PASSPHRASE)
    with pytest.raises(CeremonyRefused, match="has tokens already"):
        restore(copy, softhsm.directory, PASSPHRASE)
    assert copy.read_bytes() == before
    assert check(softhsm.settings) == []


def test_a_short_passphrase_and_an_empty_directory_are_refused(softhsm, tmp_path):
    with pytest.raises(Invalid, match="at least 16"):
        back_up(softhsm.directory, tmp_path / "copy", "short")
    with pytest.raises(CeremonyRefused, match="no tokens"):
        back_up(tmp_path, tmp_path / "copy", PASSPHRASE)
    assert not (tmp_path / "copy").exists()


def test_a_copy_with_weaker_work_for_guessers_is_refused(softhsm, tmp_path):
    """Whoever could write the file could else make a copy that is quickly tried."""
    softhsm.init()
    copy = softhsm.directory / "copy"
    back_up(softhsm.directory, copy, PASSPHRASE)
    magic, head, rest = copy.read_bytes().split(b"\n", 2)
    weak = msgspec.json.decode(head) | {"n": 2}
    copy.write_bytes(b"\n".join([magic, msgspec.json.encode(weak), rest]))
    with pytest.raises(Invalid, match="n = 2"):
        restore(copy, tmp_path / "hsm", PASSPHRASE)
