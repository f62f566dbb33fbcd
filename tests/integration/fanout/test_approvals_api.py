"""Signals by approval over the admin API: read what would be sent, say yes or no, for one or for all."""

from __future__ import annotations

import asyncio

import pytest

from gateway.admin.app import admin_app
from gateway.admin.operation import Services
from tenancy.clock import SystemClock
from tenancy.ids import new_id
from tenancy.store.service_keys import create_service_key
from tests.fakes.vault import Vault
from tests.fixtures.api import Client
from tests.fixtures.persons import signed_in
from tests.integration.fanout.asking import DONE, asked, asking, change


@pytest.fixture
def services(admin):
    vault = Vault()
    return Services(
        database=admin, redis=None, enroller=vault, signer=vault, clock=SystemClock(),
        brokers=("paper",), hooks_base_url="https://hooks.example",
    )  # fmt: skip


@pytest.fixture
def app(services):
    return admin_app(services, checks={})


async def test_a_yes_over_the_api_sends_what_the_list_showed(bench, app, services):
    await asking(bench, 2)
    async with bench.worker():
        signal = await asked(bench)
        ann = await signed_in(app, services, bench.scope, ["approver"])
        listed = (await ann.get("/v1/approvals?state=pending"))["items"]
        assert [row["legs"][0]["order_qty"] for row in listed] == ["2", "2"]
        account = str(bench.accounts[0])
        reply = await ann("POST", f"/v1/approvals/{signal}/{account}/approve", {"comment": "go"})
        assert (reply.status, reply.json()["state"]) == (200, "approved"), reply
        await bench.until(DONE, 1)
        again = await ann("POST", f"/v1/approvals/{signal}/{account}/reject", {})
        assert (again.status, again.json()["code"]) == (409, "already_decided")
    assert [str(order.account_id) for order in bench.broker.executed] == [account]
    rows = (await ann.get("/v1/approvals"))["items"]
    assert [row["state"] for row in rows] == ["pending", "approved"]
    assert (rows[1]["comment"], rows[1]["decided_by"]["id"]) == ("go", str(ann.person_id))


async def test_a_yes_for_all_answers_every_pending_question_once(bench, app, services):
    await asking(bench, 3)
    async with bench.worker():
        signal = await asked(bench)
        ann = await signed_in(app, services, bench.scope, ["approver"], 1)
        ben = await signed_in(app, services, bench.scope, ["trader"], 2)
        no = f"/v1/approvals/{signal}/{bench.accounts[0]}/reject"
        assert (await ann("POST", no, {})).json()["state"] == "rejected"
        replies = await asyncio.gather(
            *(who("POST", f"/v1/signals/{signal}/approve", {}) for who in (ann, ben))
        )
        assert [reply.status for reply in replies] == [200, 200]
        made = [item for reply in replies for item in reply.json()["items"]]
        assert sorted(item["account_id"] for item in made) == sorted(map(str, bench.accounts[1:]))
        await bench.until(DONE, 2)
    assert len(bench.broker.executed) == 2


async def test_a_yes_to_what_changed_meanwhile_says_that_it_came_to_nothing(
    bench, admin, app, services
):
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
        ann = await signed_in(app, services, bench.scope, ["approver"])
        await change(admin, bench, "UPDATE accounts SET state = 'halted'")
        reply = await ann("POST", f"/v1/signals/{signal}/approve", {})
        (outcome,) = reply.json()["items"]
        assert outcome["state"] == "void"
        assert outcome["text"]
        (row,) = (await ann.get("/v1/approvals"))["items"]
        assert (row["why"], row["text"]) == (outcome["why"], outcome["text"])
        await asyncio.sleep(0.3)
    assert bench.broker.executed == []


async def test_no_key_no_viewer_and_no_other_tenant_answers(bench, admin, app, services):
    await asking(bench)
    async with bench.worker():
        signal = await asked(bench)
        async with admin.tenant(bench.scope) as conn:
            key = await create_service_key(
                conn, bench.scope, "k", ["signals:decide", "signals:read"]
            )
        viewer = await signed_in(app, services, bench.scope, ["viewer"])
        for who in (Client(app, key), viewer):
            for path in (
                f"/v1/signals/{signal}/approve",
                f"/v1/approvals/{signal}/{bench.accounts[0]}/approve",
            ):
                assert (await who("POST", path, {})).status == 403
        ann = await signed_in(app, services, bench.scope, ["approver"], 2)
        assert (await ann("POST", f"/v1/signals/{new_id()}/approve", {})).status == 404
        (row,) = (await ann.get("/v1/approvals?limit=1"))["items"]
        assert row["state"] == "pending"


async def test_the_list_goes_on_from_what_waits_to_what_is_answered(bench, app, services):
    await asking(bench, 3)
    async with bench.worker():
        signal = await asked(bench)
        ann = await signed_in(app, services, bench.scope, ["approver"])
        await ann("POST", f"/v1/approvals/{signal}/{bench.accounts[1]}/reject", {})
        states, path = [], "/v1/approvals?limit=1"
        while path:
            page = await ann.get(path)
            states += [row["state"] for row in page["items"]]
            path = f"/v1/approvals?limit=1&cursor={page['next']}" if "next" in page else ""
    assert states == ["pending", "pending", "rejected"]
