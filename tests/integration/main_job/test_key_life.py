"""A year in the life of keys, in an hour's trading: rotated under load, enrolled anew, retired, destroyed.

The tests run in the order of the file and tell one story in one installation: six accounts at the
exchange simulator, whose every order has to bear the right signature, and signals without a pause.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pyotp
import pytest
import pytest_asyncio

from audit.verdict import OK, TAMPERED
from audit.verifier import verify_log
from ops.api_client import Api
from ops.enrolment import ApiSecret, enrol_many
from ops.initialise import Choices
from ops.processes import ROOT
from ops.tenants import operator_scope
from ops.trial.customer import Customer, customer
from ops.trial.exchange import Exchange, broker_settings, exchange
from ops.trial.outcome import settled
from ops.trial.sender import Hook
from tenancy.database import Database
from tests.integration.main_job.company import (
    Client,
    Company,
    accepted,
    company,
    payload_of,
    unneeded,
    until,
)

pytestmark = [pytest.mark.stack, pytest.mark.longer, pytest.mark.asyncio(loop_scope="module")]  # fmt: skip

ACCOUNTS = 6
BUY = {"ticker": "BTC_USDT", "action": "buy", "quantity": 1}


class Desk(msgspec.Struct):
    house: Company
    market: Exchange
    acme: Customer
    admin: Client
    operator: Client
    hook: Hook
    secrets: list[ApiSecret]
    database: Database
    person: Client
    origin: str = ""

    @property
    def tenant(self) -> str:
        return str(self.acme.scope.tenant_id)

    async def host(self, *words: str, wanted: int = 0) -> Any:
        """`portcullis hsm …` in a process of its own, as on the host."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops.cli.main",
            "--settings", str(self.house.here.places.settings), "hsm", *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        out, err = (text.decode() for text in await process.communicate())
        assert process.returncode == wanted, out + err
        return json.loads(out) if wanted == 0 and "--json" in words else out + err

    async def orders(self, signals: list[str]) -> list[tuple[str, str]]:
        async with self.database.tenant(self.acme.scope) as conn:
            cursor = await conn.execute(
                "SELECT state, coalesce(text, '') FROM orders WHERE signal_id::text = ANY(%s)",
                (signals,),
            )
            return list(await cursor.fetchall())


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    directory = tmp_path_factory.mktemp("keys")
    async with exchange(directory / "exchange.log") as market:
        choices = Choices(
            ingress_port=0, admin_port=0, worker_processes=1, rate_per_minute=100_000,
            rate_per_hour=1_000_000,
            brokers={"gateio": broker_settings(market.url, connections=8)},
        )  # fmt: skip
        async with company(directory, choices) as house, customer(house.here, "Acme") as acme:
            names = [f"client {n}" for n in range(ACCOUNTS)]
            await acme.declare(
                strategies=[{"name": "trend", "settings": {"allow_add_to_position": True}}],
                accounts=[
                    {"name": n, "broker": "gateio", "currency": "USDT", "stated_equity": "1000000"}
                    for n in names
                ],
                subscriptions=[{"strategy": "trend", "account": n} for n in names],
            )
            balances = dict.fromkeys((await acme.accounts()).values(), "1000000")
            secrets = list(await acme.connect(market, balances))
            hook = await acme.hook((await acme.strategies())["trend"])
            database = Database(house.here.settings.database.admin, name="test", size=2)
            await database.open()
            admin = house.client(acme.service_key)
            person = await house.person(admin, "ada", "admin", factor=True)
            yield Desk(
                house, market, acme, admin, house.key_of("operator"),
                hook, secrets, database, person,
            )  # fmt: skip
            await database.close()


@asynccontextmanager
async def trading(desk: Desk) -> AsyncIterator[list[str]]:
    """Signals without a pause. Afterwards every one was carried out by every account, rightly signed."""
    signals: list[str] = []
    answers: list[int] = []
    stop = asyncio.Event()
    async with desk.house.sender(desk.hook) as sender:
        await accepted(sender, **BUY)

        async def send() -> None:
            while not stop.is_set():
                sent = await sender.send(**BUY)
                answers.append(sent.status)
                signals.append(sent.signal_id or "")
                await asyncio.sleep(0.1)

        task = asyncio.create_task(send())
        await asyncio.sleep(0.5)
        yield signals
        await asyncio.sleep(0.5)
        stop.set()
        await task
    assert set(answers) == {202}
    await settled(desk.database, desk.acme.scope, signals, within_s=30)
    orders = await desk.orders(signals)
    assert {state for state, _ in orders} == {"filled"}, orders
    assert len(orders) == ACCOUNTS * len(signals)


async def test_every_key_is_rotated_while_orders_go_out_and_none_is_missed(desk: Desk) -> None:
    keys = {key["label"] for key in await desk.host("calendar", "--json") if key["kind"] == "log"}
    async with desk.database.tenant(desk.acme.scope) as conn:
        row = await (await conn.execute("SELECT origin FROM audit_logs")).fetchone()
    assert row is not None
    desk.origin = row[0]
    assert desk.origin in keys
    async with trading(desk) as signals:
        made = await desk.host("rotate", "kek", desk.tenant, "--json")
        assert made["facts"]["versions"] == [2]
        assert len(made["reenrol"]) == ACCOUNTS + 1  # and the hook's secret
        await desk.host("rotate", "log-key", desk.origin, "--json")
        await desk.host("rotate", "enrol-key", "--json")
    assert len(signals) > 20
    findings = await desk.host("check")
    assert "all keys are as they must be" in findings


async def test_a_second_factor_is_sealed_anew_by_itself_and_goes_on(desk: Desk) -> None:
    """Nobody scans a code again: the process that opens the seed at each sign-in seals it again."""

    async def only_enrolments_are_left() -> bool:
        shown = (await desk.admin("GET", "/v1/tenant/keys", wanted=200)).content
        return {one["source"] for one in shown["reenrolment_due"]} == {"credential", "hook_secret"}

    await until(only_enrolments_are_left, within_s=30)
    shown = (await desk.admin("GET", "/v1/tenant/keys", wanted=200)).content
    assert {k["version"]: k["rows"] for k in shown["keys"] if k["kind"] == "kek"} == {
        1: ACCOUNTS + 1, 2: 2,  # the factor, and the key of the audit payloads
    }  # fmt: skip
    assert (await desk.person.sign_in()).status == 401

    async def signed_in() -> bool:
        return (await desk.person.sign_in(pyotp.TOTP(desk.person.secret).now())).status == 200

    await until(signed_in, within_s=40, every_s=3)  # the code of the enrolment is not taken twice


async def test_the_api_says_what_is_to_be_enrolled_anew_and_the_old_version_stays(
    desk: Desk,
) -> None:
    shown = (await desk.admin("GET", "/v1/tenant/keys", wanted=200)).content
    states = {(key["kind"], key["version"]): key for key in shown["keys"]}
    assert states["kek", 1]["state"] == "old"
    assert states["kek", 1]["rows"] == ACCOUNTS + 1
    assert states["kek", 2]["state"] == "current"
    due = {(one["source"], one["owner_id"]) for one in shown["reenrolment_due"]}
    accounts = (await desk.acme.accounts()).values()
    assert due == {("credential", str(a)) for a in accounts} | {("hook_secret", desk.hook.hook_id)}
    one = next(iter(accounts))
    credential = (await desk.admin("GET", f"/v1/accounts/{one}/credential", wanted=200)).content
    assert credential["reenrolment_due"] is True
    refused = await desk.host("retire", "kek", desk.tenant, "1", "--now", wanted=1)
    assert f"{ACCOUNTS + 1} rows are sealed under version 1" in refused


async def test_enrolled_anew_the_old_version_is_destroyed_and_trading_goes_on(desk: Desk) -> None:
    async with trading(desk):
        await enrol_many(desk.acme.api, desk.secrets)
    path = f"/v1/hooks/{desk.hook.hook_id}/secrets"
    old = (await desk.admin("GET", path, wanted=200))["items"][0]["secret_id"]
    second = await desk.admin.make(path)
    refused = await desk.host("retire", "kek", desk.tenant, "1", "--now", wanted=1)
    assert "the first is the hook_secret" in refused
    desk.hook = Hook(desk.hook.hook_id, second["secret"])
    await desk.admin("DELETE", f"{path}/{old}", wanted=204)
    hurried = await desk.host("retire", "kek", desk.tenant, "1", wanted=1)
    assert "is needed until" in hurried
    async with trading(desk):
        facts = await desk.host("retire", "kek", desk.tenant, "1", "--now", "--json")
    assert len(facts["destroyed"]) == 6
    assert facts["left"] == 0
    assert "destroyed already" in await desk.host("retire", "kek", desk.tenant, "1", wanted=1)
    shown = (await desk.admin("GET", "/v1/tenant/keys", wanted=200)).content
    assert shown["reenrolment_due"] == []
    assert {k["state"] for k in shown["keys"] if k["kind"] == "kek"} == {"destroyed", "current"}


async def test_the_log_bears_both_signatures_until_its_old_key_is_destroyed(desk: Desk) -> None:
    async with desk.database.tenant(desk.acme.scope) as conn:
        row = await (await conn.execute("SELECT log_id FROM audit_logs")).fetchone()
    assert row is not None
    directory = desk.house.here.settings.recorder.store / str(row[0])
    old, old_p256, new, new_p256 = (directory / "vkey").read_text().splitlines()
    await settled_log(desk)
    assert {verify_log(directory, key).code for key in (old, old_p256, new, new_p256)} == {OK}
    assert "is needed until" in await desk.host("retire", "log-key", desk.origin, "1", wanted=1)
    async with trading(desk):
        await desk.host("retire", "log-key", desk.origin, "1", "--now", "--json")
    await settled_log(desk)
    assert verify_log(directory, new).code == OK
    assert verify_log(directory, f"{old}\n{new}").code == OK
    assert verify_log(directory, new_p256).code == OK
    assert [verify_log(directory, key).code for key in (old, old_p256)] == [TAMPERED] * 2


async def settled_log(desk: Desk) -> None:
    """Until the recorder has published everything, so that the files stand still."""

    async def still() -> bool:
        async with desk.database.tenant(desk.acme.scope) as conn:
            row = await (
                await conn.execute(
                    "SELECT (SELECT max(i) + 1 FROM audit_leaves), (SELECT max(size) FROM audit_checkpoints)"
                )
            ).fetchone()
        await asyncio.sleep(0.5)
        return row is not None and row[0] == row[1]

    await until(still)


async def test_the_old_enrolment_key_opens_until_it_is_retired(desk: Desk) -> None:
    assert "is needed until" in await desk.host("retire", "enrol-key", "1", wanted=1)
    await desk.host("retire", "enrol-key", "1", "--now", "--json")
    await enrol_many(desk.acme.api, desk.secrets[:1])
    async with trading(desk):
        pass


async def test_off_boarding_takes_two_people_a_halt_and_leaves_nothing(desk: Desk) -> None:
    there = f"/v1/tenants/{desk.tenant}/offboarding"
    words = ("destroy", desk.tenant, "--yes", desk.tenant)
    assert "nobody has agreed" in await desk.host(*words, wanted=1)
    proposed = await desk.operator("POST", there, {"reason": "the contract has ended"}, wanted=202)
    assert (await desk.operator("GET", there)).status == 404
    second = await desk.house.person(desk.operator, "olga", "operator", factor=True)
    await second("POST", f"/v1/proposals/{proposed['proposal_id']}/approve", {}, wanted=200)
    agreed = (await desk.operator("GET", there, wanted=200)).content
    assert agreed["destroyed_at"] is None
    assert "halt it first" in await desk.host(*words, wanted=1)
    await desk.admin(
        "POST",
        "/v1/halts",
        {"scope": "tenant", "level": "block_all", "reason": "leaving"},
        wanted=200,
    )
    refused = await desk.host(*words, wanted=1)
    assert f"{ACCOUNTS} positions are open" in refused
    wrong = await desk.host("destroy", desk.tenant, "--yes", "another", wanted=1)
    assert "nothing was destroyed" in wrong
    proof = await desk.host(*words, "--despite-positions", "--json")
    assert len(proof["facts"]["destroyed"]) == 6
    assert proof["facts"]["left"] == 0
    assert {one["outcome"] for one in proof["before"]} == {"opens"}
    assert len(proof["before"]) == ACCOUNTS + 2
    for tried in (proof["facts"]["tried"], proof["signer"]):
        assert {one["outcome"] for one in tried} == {"hsm_key_missing"}
        assert len(tried) == ACCOUNTS + 2
    assert (await desk.operator("GET", there, wanted=200))["destroyed_at"] is not None
    assert "all keys are as they must be" in await desk.host("check")
    assert "nobody has agreed" in await desk.host(*words, wanted=1)


async def test_what_was_destroyed_is_in_the_platforms_log_and_in_the_calendar(desk: Desk) -> None:
    async with desk.database.shared() as conn:
        row = await (await conn.execute("SELECT platform_tenant()")).fetchone()
    assert row is not None
    async with desk.database.tenant(operator_scope(row[0])) as conn:
        cursor = await conn.execute(
            "SELECT l.leaf, p.payload FROM audit_leaves l"
            " JOIN audit_payloads p USING (log_id, i)"
            " WHERE convert_from(l.leaf, 'UTF8')::json ->> 'k' = 'tenant.keys_destroyed'"
        )
        ((leaf, stored),) = await cursor.fetchall()
    payload = await payload_of(desk.house.here.settings, row[0], leaf, stored)
    assert payload["tenant"] == desk.tenant
    assert payload["proof"]["facts"]["left"] == 0
    assert "records hold" in await desk.host("record", "verify")
    records = await desk.host("record", "list", "--json")
    kept = records[payload["record"] - 1]
    assert (kept["what"], kept["sha256"]) == ("destroy kek", payload["record_sha256"])
    every = (await desk.operator("GET", "/v1/platform/keys?limit=100", wanted=200))["items"]
    own = {(k["kind"], k["version"]): k["state"] for k in every if k["tenant_id"] == desk.tenant}
    assert own == {
        ("kek", 1): "destroyed", ("kek", 2): "destroyed", ("log", 1): "destroyed", ("log", 2): "current",
    }  # fmt: skip
    assert (await desk.admin("GET", "/v1/platform/keys")).status == 403
    current = [key for key in await desk.host("calendar", "--json") if key["state"] == "current"]
    assert all(datetime.fromisoformat(key["due_at"]) > datetime.now(UTC) for key in current)
    assert {(key["kind"], key["version"]) for key in current if key["kind"] == "enrol"} == {
        ("enrol", 2)
    }


DIED = """
import sys
from pathlib import Path
from uuid import UUID
from hsm import ending, rotation
from ops.ceremonies import token_settings
from ops.settings import read_settings
tokens = token_settings(read_settings(Path(sys.argv[1])))
module, call = {"rotate": (rotation, "rotate_tenant_keys"), "retire": (ending, "retire_tenant_keys")}[sys.argv[2]]
getattr(module, call)(tokens, UUID(sys.argv[3]), 1)
"""


async def died(desk: Desk, what: str, tenant: str) -> None:
    """A ceremony that did its work in the tokens, and ended before it could write its row."""
    settings = str(desk.house.here.places.settings)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DIED, settings, what, tenant, cwd=ROOT
    )
    assert await process.wait() == 0


async def test_a_ceremony_that_died_on_the_way_is_finished_by_the_same_command(desk: Desk) -> None:
    async with customer(desk.house.here, "Beta") as beta:
        tenant = str(beta.scope.tenant_id)
    await died(desk, "rotate", tenant)
    made = await desk.host("rotate", "kek", tenant, "--json")
    assert made["facts"]["versions"] == [2]
    await until(lambda: unneeded(desk.database, beta.scope, 1), within_s=60)  # the audit key: anew
    async with desk.database.tenant(beta.scope) as conn:
        await conn.execute(
            "UPDATE hsm_keys SET state = 'ending' WHERE kind = 'kek' AND version = 1"
        )
    await died(desk, "retire", tenant)
    facts = await desk.host("retire", "kek", tenant, "1", "--json")
    assert facts["destroyed"] == []
    assert facts["left"] == 0
    async with desk.database.tenant(beta.scope) as conn:
        cursor = await conn.execute(
            "SELECT version, state FROM hsm_keys WHERE kind = 'kek' ORDER BY version"
        )
        assert await cursor.fetchall() == [(1, "destroyed"), (2, "current")]


async def test_all_tenants_that_are_still_there_are_rotated_at_once(desk: Desk) -> None:
    await desk.host("rotate", "kek", "all")
    current = [
        (key["tenant"], key["version"])
        for key in await desk.host("calendar", "--json")
        if (key["kind"], key["state"]) == ("kek", "current")
    ]
    assert sorted(current) == [("Beta", 3), ("Platform", 2)]
    assert "all keys are as they must be" in await desk.host("check")


async def test_one_ceremony_at_a_time(desk: Desk) -> None:
    async with desk.database.connection() as conn:  # by the session, as a ceremony holds it
        await conn.execute("SELECT pg_advisory_lock(hashtextextended('portcullis.ceremony', 0))")
        refused = await desk.host("rotate", "enrol-key", wanted=1)
        await conn.execute("SELECT pg_advisory_unlock(hashtextextended('portcullis.ceremony', 0))")
    assert "another ceremony is under way" in refused


async def test_an_api_that_is_asked_afterwards_seals_nothing(desk: Desk) -> None:
    """It says that the keys are missing, and writes nothing."""
    api: Api = desk.acme.api
    with pytest.raises(Exception, match="no key of this tenant"):
        await enrol_many(api, desk.secrets[:1])
