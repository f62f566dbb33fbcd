"""Credentials of accounts: written, replaced, revoked; sealed before they are kept, and never read back."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import psycopg
import pytest

from fanout.proof import NotProven, Proven
from gateway.admin.app import admin_app
from gateway.admin.operations import OPERATIONS
from hsm.enrol import encrypt_key
from hsm.errors import KeyMissing, MalformedRequest
from tenancy.ids import new_id
from tests.fakes.broker import FakeBroker
from tests.fixtures.api import Api
from tests.fixtures.proving import prove_all
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


async def _enrolled(api: Api, account: str, api_key: str) -> Any:
    """Sealed, and proven by its broker."""
    reply = await _put(api, account, api_key)
    assert (await prove_all(api.database)) == 1
    return reply


async def _refused(api: Api, account: str, api_key: str, code: Any = "can_withdraw") -> None:
    await _put(api, account, api_key)
    broker = FakeBroker()
    broker.proofs.append(NotProven(code=code, words="Gate.io: it may", broker_user="7"))
    await prove_all(api.database, broker)


async def test_a_credential_is_sealed_proven_replaced_and_revoked(api: Api):
    admin, account = api.as_("admin"), await _account(api)
    assert (await admin.get(f"{account}/credential"))["state"] == "missing"
    first = (await _put(api, account, "one")).json()
    assert (first["state"], first["api_key"]) == ("proving", None)
    assert (first["next"]["state"], first["next"]["api_key"]) == ("proving", "one")
    assert (await admin.get(account))["credential"] == "proving"
    await prove_all(api.database)
    now = await admin.get(f"{account}/credential")
    assert (now["state"], now["api_key"], now["next"]) == ("live", "one", None)
    assert now["credential_id"] == first["next"]["credential_id"]
    assert (await admin.get(account))["credential"] == "live"
    assert api.vault.sealed[-1][0:2] == ("key", api.tenant())
    assert str(api.vault.sealed[-1][2]) in account
    assert api.vault.sealed[-1][3] == "gateio"
    await _enrolled(api, account, "two")
    assert (await admin.get(f"{account}/credential"))["api_key"] == "two"
    kept = rows(api, "SELECT api_key, revoked_at IS NULL FROM credentials ORDER BY created_at")
    assert kept == [("one", False), ("two", True)]
    assert rows(api, "SELECT 1 FROM waiting_credentials") == []
    assert (await admin("DELETE", f"{account}/credential")).status == 204
    assert (await admin.get(f"{account}/credential"))["state"] == "missing"
    assert (await admin("DELETE", f"{account}/credential")).status == 404


async def test_answers_say_under_which_key_it_is_sealed_since_when_and_what_the_broker_said(
    api: Api,
):
    admin, account = api.as_("admin"), await _account(api)
    await _enrolled(api, account, "one")
    now = await admin.get(f"{account}/credential")
    assert (now["kek_version"], now["sealing"]) == (1, "key")
    assert now["sealed_at"] is not None
    proof = now["proof"]
    assert (proof["proven"], proof["scopes"], proof["code"]) == (True, ["futures:write"], None)
    assert proof["due_at"] > proof["proved_at"]


async def test_until_it_is_proven_the_one_before_stays_live(api: Api):
    admin, account = api.as_("admin"), await _account(api)
    await _enrolled(api, account, "one")
    await _put(api, account, "two")
    now = await admin.get(f"{account}/credential")
    assert (now["state"], now["api_key"], now["next"]["api_key"]) == ("live", "one", "two")


async def test_one_that_the_broker_refuses_is_told_in_its_words_and_the_one_before_stays_live(
    api: Api,
):
    admin, account = api.as_("admin"), await _account(api)
    await _refused(api, account, "none")
    now = await admin.get(f"{account}/credential")
    assert (now["state"], now["next"]["state"]) == ("refused", "refused")
    assert (await admin.get(account))["credential"] == "refused"
    proof = now["next"]["proof"]
    assert (proof["code"], proof["words"]) == ("can_withdraw", "Gate.io: it may")
    await _enrolled(api, account, "one")
    await _refused(api, account, "two")
    now = await admin.get(f"{account}/credential")
    assert (now["state"], now["api_key"], now["next"]["api_key"]) == ("live", "one", "two")


async def test_a_key_of_another_user_of_the_broker_is_refused(api: Api):
    """The account's positions are the first user's."""
    account, broker = await _account(api), FakeBroker()
    await _put(api, account, "one")
    broker.proofs.extend([Proven(broker_user="1"), Proven(broker_user="2")])
    await prove_all(api.database, broker)
    await _put(api, account, "two")
    await prove_all(api.database, broker)
    now = await api.as_("admin").get(f"{account}/credential")
    assert (now["api_key"], now["next"]["proof"]["code"]) == ("one", "other_user")


async def test_another_takes_the_place_of_one_that_is_being_proven(api: Api):
    """The broker's answer about the first comes too late, whatever it is."""
    account, broker = await _account(api), FakeBroker()
    await _put(api, account, "one")

    async def prove(*arguments: Any, **named: Any) -> Proven:
        await _put(api, account, "two")
        return Proven()

    broker.prove = prove  # type: ignore[method-assign]
    await prove_all(api.database, broker)
    now = await api.as_("admin").get(f"{account}/credential")
    assert (now["state"], now["next"]["api_key"]) == ("proving", "two")
    assert rows(api, "SELECT api_key FROM credentials WHERE state = 'live'") == []


async def test_one_that_is_revoked_while_it_is_proven_never_lives(api: Api):
    account, broker = await _account(api), FakeBroker()
    await _put(api, account, "one")

    async def prove(*arguments: Any, **named: Any) -> Proven:
        assert (await api.as_("admin")("DELETE", f"{account}/credential")).status == 204
        return Proven()

    broker.prove = prove  # type: ignore[method-assign]
    await prove_all(api.database, broker)
    assert (await api.as_("admin").get(f"{account}/credential"))["state"] == "missing"


async def test_the_management_process_cannot_make_a_credential_live(api: Api):
    """Not by its code, and not by its rights in the database."""
    account = await _account(api)
    await _put(api, account, "one")
    with psycopg.connect(api.database.conninfo("admin"), autocommit=True) as conn:
        conn.execute("SELECT set_config('portcullis.tenant_id', %s, false)", (str(api.tenant()),))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("UPDATE credentials SET state = 'live'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="admin_seals_only"):
            conn.execute(
                "INSERT INTO credentials (credential_id, tenant_id, account_id, broker, api_key,"
                " sealed, state) VALUES (%s, %s, %s, 'gateio', 'k', 'x', 'live')",
                (new_id(), api.tenant(), account.rsplit("/", 1)[1]),
            )


async def test_a_refused_credential_is_never_made_live_by_anybody(api: Api):
    account = await _account(api)
    await _refused(api, account, "one")
    with psycopg.connect(api.database.superuser, autocommit=True) as conn:  # noqa: SIM117
        with pytest.raises(psycopg.errors.RaiseException, match="stays so"):
            conn.execute("UPDATE credentials SET state = 'live', revoked_at = NULL")


@pytest.mark.parametrize(
    ("broker", "sealing", "wanted"),
    [("gateio", "sdk", "key"), ("shioaji", "key", "sdk")],
)
async def test_a_secret_comes_out_again_for_those_brokers_alone_that_have_to_see_it(
    api: Api, broker: str, sealing: str, wanted: str
):
    services = msgspec.structs.replace(api.services, brokers=("gateio", "shioaji"))
    app = admin_app(services, checks={}, operations=OPERATIONS)
    api = msgspec.structs.replace(api, app=app)
    made = await api.as_("admin").make("/v1/accounts", name="b", broker=broker, currency="USDT")
    account = f"/v1/accounts/{made['account_id']}"
    reply = await _put(api, account, "one", sealing=sealing)
    assert (reply.status, reply.json()["field"]) == (422, "sealing")
    assert api.vault.sealed == []
    reply = await _put(api, account, "one", sealing=wanted)
    assert reply.json()["next"]["sealing"] == wanted
    assert api.vault.sealed[-1][0] == ("secret" if wanted == "sdk" else "key")


async def test_whatever_was_done_with_a_credential_is_in_its_history_without_it(api: Api):
    account = await _account(api)
    await _enrolled(api, account, "one")
    await _enrolled(api, account, "two")
    kept = rows(
        api,
        "SELECT revision, before, after FROM revisions WHERE kind = 'credential' ORDER BY at, 1",
    )
    facts = [
        {"account_id": account.rsplit("/", 1)[1], "api_key": name, "test_order": False}
        for name in ("one", "two")
    ]
    lives = (2, {"state": "proving"}, {"state": "live"})
    assert sorted(kept, key=str) == sorted(
        [(1, None, facts[0]), lives, (3, facts[0], None), (1, None, facts[1]), lives], key=str
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
    await _enrolled(api, account, "one")
    await _put(api, account, "next")
    assert (await api.as_("admin").delete(account)).status == 204
    assert rows(api, "SELECT 1 FROM credentials WHERE revoked_at IS NULL") == []
    assert (await _put(api, account, "two")).status == 422


async def test_with_four_eyes_a_credential_waits_and_is_proven_after_the_second_yes(api: Api):
    admin, account = api.as_("admin"), await _account(api)
    await _enrolled(api, account, "one")
    guard(api, "credentials")
    reply = await _put(api, account, "two")
    assert (reply.status, reply.json()["status"]) == (202, "proposed")
    now = await admin.get(f"{account}/credential")
    assert (now["api_key"], now["state"]) == ("one", "live")
    assert now["waiting_since"] is not None
    assert (now["next"]["state"], now["next"]["api_key"]) == ("waiting", "two")
    assert await prove_all(api.database) == 0
    sealed_at = now["next"]["sealed_at"]
    assert await agree(api, reply.json()["proposal_id"]) is None
    now = await admin.get(f"{account}/credential")
    assert (now["api_key"], now["next"]["state"]) == ("one", "proving")
    assert now["next"]["sealed_at"] == sealed_at
    assert await prove_all(api.database) == 1
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
    assert (await admin.get(f"{account}/credential"))["next"]["api_key"] == "two"


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
