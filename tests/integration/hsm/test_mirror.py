"""Two HSMs with the same tenants' keys: whatever one enroller sealed, either signer uses."""

from __future__ import annotations

import hmac
import time
from uuid import uuid4

import msgspec
import pytest

from hsm import ceremony
from hsm.check import check
from hsm.client import EnrollerClient, SignerClient
from hsm.enrol import encrypt_key
from hsm.errors import CeremonyRefused
from hsm.policy import Request, text_to_sign
from hsm.settings import TokenPair
from hsm.templates import key_label
from tests.integration.hsm.conftest import signing_token

PATH = "/api/v4/futures/usdt/orders"
SECRET = b"an API secret, of some length"

pytestmark = pytest.mark.longer


@pytest.fixture
def two(softhsm):
    """Tokens of a second HSM beside those of the first, and a tenant with keys in both."""
    second = TokenPair(
        enrol_label="second-enrol", sign_label="second-sign",
        enrol_pin_file=softhsm.directory / "second-enrol.pin",
        enrol_so_pin_file=softhsm.directory / "second-enrol-so.pin",
        sign_pin_file=softhsm.directory / "second-sign.pin",
        sign_so_pin_file=softhsm.directory / "second-sign-so.pin",
    )  # fmt: skip
    softhsm.settings = msgspec.structs.replace(softhsm.settings, mirrors=[second])
    ceremony.init_tokens(softhsm.settings)
    tenant = uuid4()
    ceremony.create_tenant_keys(softhsm.settings, tenant)
    return softhsm, second, tenant


def other(softhsm, name: str, second: TokenPair) -> None:
    """Start the second HSM's daemon: the same program, another token and socket."""
    label, pin = {
        "signer": (second.sign_label, second.sign_pin_file),
        "enroller": (second.enrol_label, second.enrol_pin_file),
    }[name]
    softhsm.start(
        name, token_label=f'"{label}"', pin_file=f'"{pin}"',
        socket=f'"{softhsm.socket(name)}"',
    )  # fmt: skip


async def signed(softhsm, tenant, account, sealed) -> str:
    now = int(time.time())
    async with SignerClient(softhsm.socket("signer"), timeout_s=10) as signer:
        got = await signer.sign_request(
            sealed, tenant_id=tenant, account_id=account, scheme="gateio", method="POST",
            path=PATH, query="", body=b"{}", timestamp=now,
        )  # fmt: skip
    text = text_to_sign(Request("gateio", "POST", PATH, "", b"{}", now))
    assert got == hmac.digest(SECRET, text, "sha512").hex()
    return got


@pytest.mark.parametrize("sealing", ["first", "second"])
async def test_what_either_enroller_sealed_signs_rightly_in_both_hsms(two, sealing):
    softhsm, second, tenant = two
    account = uuid4()
    if sealing == "first":
        softhsm.start("enroller")
    else:
        other(softhsm, "enroller", second)
    async with EnrollerClient(softhsm.socket("enroller"), timeout_s=10) as enroller:
        ciphertext = encrypt_key(await enroller.public_key_pem(), SECRET)
        sealed = await enroller.seal_key(tenant, account, "gateio", ciphertext)
    softhsm.start("signer")
    await signed(softhsm, tenant, account, sealed)
    softhsm.stop("signer")
    other(softhsm, "signer", second)
    await signed(softhsm, tenant, account, sealed)


def test_the_keys_of_both_are_as_they_must_be_and_a_missing_one_is_named(two):
    softhsm, _, tenant = two
    assert check(softhsm.settings) == []
    label = key_label("kek", tenant, 1)
    with signing_token(softhsm) as anchor:
        for key in ceremony.find(anchor.session, label):
            key.destroy()
    (finding,) = check(softhsm.settings)
    assert (finding.token, finding.label) == (softhsm.settings.sign_label, label)
    assert "is missing" in finding.what


def test_a_ceremony_that_died_between_the_two_is_done_again(two, monkeypatch):
    softhsm, _, _ = two
    tenant, kept = uuid4(), ceremony._keep

    def dies(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(ceremony, "_keep", dies)
    with pytest.raises(KeyboardInterrupt):
        ceremony.create_tenant_keys(softhsm.settings, tenant)
    monkeypatch.setattr(ceremony, "_keep", kept)
    assert check(softhsm.settings) != []
    ceremony.create_tenant_keys(softhsm.settings, tenant)
    assert check(softhsm.settings) == []
    with pytest.raises(CeremonyRefused, match="has keys of version 1 already"):
        ceremony.create_tenant_keys(softhsm.settings, tenant)


def test_no_token_is_made_where_one_of_all_exists(two):
    softhsm, second, _ = two
    third = msgspec.structs.replace(second, enrol_label="third-enrol", sign_label="second-sign")
    fresh = msgspec.structs.replace(
        softhsm.settings, enrol_label="new-enrol", sign_label="new-sign", mirrors=[third]
    )
    with pytest.raises(CeremonyRefused, match="'second-sign' exists already; nothing was changed"):
        ceremony.init_tokens(fresh)
    with ceremony.library(fresh) as module:
        assert not module.has_token("new-enrol")
