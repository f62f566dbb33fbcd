"""Credentials of accounts: written, replaced, revoked; sealed before they are kept, and never read back."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from hsm.enrol import encrypt_key
from hsm.errors import KeyMissing, MalformedRequest
from tests.fixtures.api import Api
from tests.integration.gateway.set_up import LIVE, agree, guard, holders, proposals, rows

pytestmark = pytest.mark.stack

SECRET = b"the-broker-gave-this-once-0123456789"


async def _envelope(api: Api, secret: bytes = SECRET) -> str:
    """As a client makes it: to the key that the API names."""
    key = await api.as_("admin").get("/v1/enrolment-key")
    return base64.b64encode(encrypt_key(key["public_key_pem"].encode(), secret)).decode()


async def _account(api: Api) -> str:
    account = await api.as_("admin").make("/v1/accounts", name="a", **LIVE)
    return f"/v1/accounts/{account['account_id']}"


async def _put(api: Api, account: str, api_key: str, **more: Any) -> Any:
    body = {"api_key": api_key, "envelope": await _envelope(api), **more}
    return await api.as_("admin")("PUT", f"{account}/credential", body)


async def test_a_credential_is_sealed_for_its_account_replaced_and_revoked(api: Api):
    admin, account = api.as_("admin"), await _account(api)
    assert (await admin.get(f"{account}/credential"))["state"] == "missing"
    first = (await _put(api, account, "one")).json()
    assert (first["state"], first["api_key"]) == ("live", "one")
    assert (await admin.get(account))["credential"] == "live"
    assert api.vault.sealed[-1][0:2] == ("key", api.tenant())
    assert str(api.vault.sealed[-1][2]) in account
    assert api.vault.sealed[-1][3] == "gateio"
    second = (await _put(api, account, "two")).json()
    assert second["api_key"] == "two"
    kept = rows(api, "SELECT api_key, revoked_at IS NULL FROM credentials ORDER BY created_at")
    assert kept == [("one", False), ("two", True)]
    assert rows(api, "SELECT 1 FROM waiting_credentials") == []
    assert (await admin("DELETE", f"{account}/credential")).status == 204
    assert (await admin.get(f"{account}/credential"))["state"] == "missing"
    assert (await admin("DELETE", f"{account}/credential")).status == 404


async def test_whatever_was_done_with_a_credential_is_in_its_history_without_it(api: Api):
    account = await _account(api)
    await _put(api, account, "one")
    await _put(api, account, "two")
    kept = rows(
        api,
        "SELECT revision, before, after FROM revisions WHERE kind = 'credential' ORDER BY at, 1",
    )
    facts = [{"account_id": account.rsplit("/", 1)[1], "api_key": name} for name in ("one", "two")]
    assert sorted(kept, key=str) == sorted(
        [(1, None, facts[0]), (2, facts[0], None), (1, None, facts[1])], key=str
    )


@pytest.mark.parametrize(
    "envelope",
    [SECRET.decode(), base64.b64encode(SECRET).decode(), base64.b64encode(bytes(383)).decode()],
    ids=["plain", "plain in base64", "too short by a byte"],
)
async def test_a_secret_that_is_not_encrypted_to_the_enrolment_key_is_not_taken(
    api: Api, envelope: str
):
    account = await _account(api)
    reply = await _put(api, account, "one", envelope=envelope)
    assert (reply.status, reply.json()["field"]) == (422, "envelope")
    assert SECRET.decode() not in reply.json()["detail"]
    assert api.vault.sealed == []


@pytest.mark.parametrize(
    ("error", "status"), [(MalformedRequest("does not open"), 422), (KeyMissing("none"), 409)]
)
async def test_what_the_enroller_refuses_is_told_in_words_of_this_api(
    api: Api, error: Exception, status: int
):
    account = await _account(api)

    async def refuse(*arguments: Any) -> bytes:
        raise error

    api.vault.seal_key = refuse  # type: ignore[method-assign]
    reply = await _put(api, account, "one")
    assert reply.status == status
    assert rows(api, "SELECT 1 FROM waiting_credentials") == []


async def test_an_archived_account_has_no_credential_any_more(api: Api):
    account = await _account(api)
    await _put(api, account, "one")
    assert (await api.as_("admin").delete(account)).status == 204
    assert rows(api, "SELECT 1 FROM credentials WHERE revoked_at IS NULL") == []
    assert (await _put(api, account, "two")).status == 422


async def test_with_four_eyes_a_credential_waits_and_is_live_with_the_second_yes(api: Api):
    admin, account = api.as_("admin"), await _account(api)
    await _put(api, account, "one")
    guard(api, "credentials")
    reply = await _put(api, account, "two")
    assert (reply.status, reply.json()["status"]) == (202, "proposed")
    now = await admin.get(f"{account}/credential")
    assert (now["api_key"], now["state"]) == ("one", "live")
    assert now["waiting_since"] is not None
    assert await agree(api, reply.json()["proposal_id"]) is None
    now = await admin.get(f"{account}/credential")
    assert (now["api_key"], now["waiting_since"]) == ("two", None)
    assert (await admin("DELETE", f"{account}/credential")).status == 204  # never waits


async def test_a_credential_that_a_second_person_refused_waits_no_more(api: Api):
    admin, account = api.as_("admin"), await _account(api)
    guard(api, "credentials")
    assert (await _put(api, account, "one")).status == 202
    assert (await admin.get(account))["credential"] == "waiting"
    rows(api, "UPDATE proposals SET state = 'rejected' RETURNING 1")
    assert (await admin.get(account))["credential"] == "missing"
    now = await admin.get(f"{account}/credential")
    assert (now["state"], now["waiting_since"]) == ("missing", None)


async def test_a_yes_to_a_credential_that_was_replaced_meanwhile_comes_too_late(api: Api):
    admin, account = api.as_("admin"), await _account(api)
    guard(api, "credentials")
    first = (await _put(api, account, "one")).json()
    second = (await _put(api, account, "two")).json()
    assert (await admin.get(account))["credential"] == "waiting"
    failure = await agree(api, first["proposal_id"])
    assert failure is not None
    assert "another was put in its place" in failure
    assert await agree(api, second["proposal_id"]) is None
    assert (await admin.get(f"{account}/credential"))["api_key"] == "two"


async def test_neither_secret_nor_what_is_sealed_leaves_its_column(
    api: Api, capfd: pytest.CaptureFixture[str]
):
    account = await _account(api)
    await _put(api, account, "one")
    guard(api, "credentials")
    envelope = await _envelope(api)
    reply = await api.as_("admin")(
        "PUT", f"{account}/credential", {"api_key": "two", "envelope": envelope}
    )
    assert (reply.status, len(proposals(api))) == (202, 1)
    ciphertext = base64.b64decode(envelope)
    assert holders(api, SECRET, base64.b64encode(SECRET), envelope.encode(), ciphertext) == []
    assert holders(api, ciphertext[::-1]) == ["waiting_credentials"]
    assert await agree(api, reply.json()["proposal_id"]) is None
    assert holders(api, ciphertext[::-1]) == ["credentials"]
    printed = "".join(capfd.readouterr())
    assert envelope not in printed
    assert SECRET.decode() not in printed
