"""What is in doubt is shown with what was tried, and a person's word about it is carried out once, or is void."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from gateway.admin.app import admin_app
from gateway.admin.operation import Services
from tenancy.clock import SystemClock
from tenancy.store.service_keys import create_service_key
from tests.fakes.vault import Vault
from tests.fixtures.api import Client
from tests.fixtures.persons import signed_in

ATTEMPTS = "SELECT attempt, state FROM orders ORDER BY order_id, attempt"
RECORDS = "SELECT kind FROM audit_inbox WHERE kind LIKE 'doubt.%%' ORDER BY seq"
MANY = 10_000
"""Questions without an answer: longer than any test."""


@pytest.fixture
def services(admin):
    vault = Vault()
    return Services(
        database=admin, redis=None, enroller=vault, signer=vault, clock=SystemClock(),
        brokers=("gateio",), hooks_base_url="https://hooks.example",
    )  # fmt: skip


@pytest.fixture
def app(services):
    return admin_app(services, checks={})


@pytest.fixture
async def ann(bench, app, services):
    await bench.set_up(1)
    return await signed_in(app, services, bench.scope, ["trader"])


async def in_doubt(bench: Any, ann: Any, fault: str = "lost_before") -> str:
    """An order whose answer is lost, and a broker that proves nothing of it; its name, once it is shown."""
    bench.broker.faults.append(fault)
    bench.broker.finds.extend(["unproven"] * MANY)
    await bench.signal(quantity=2)
    return await shown(bench, ann)


async def shown(bench: Any, ann: Any) -> str:
    await bench.until("SELECT count(*) FROM doubts WHERE settled_at IS NULL", 1)
    (doubt,) = (await ann.get("/v1/doubts"))["items"]
    name: str = doubt["cl_ord_id"]
    return name


async def decide(ann: Any, name: str, verdict: str, **more: Any) -> Any:
    said = {"verdict": verdict, "reason": "looked at the broker", **more}
    return await ann("POST", f"/v1/doubts/{name}/decision", said)


async def test_what_is_in_doubt_says_since_when_why_and_what_was_tried(bench, ann):
    async with bench.crashing_worker() as crash:
        name = await in_doubt(bench, ann)
        await crash()
    doubt = await ann.get(f"/v1/doubts/{name}")
    assert (doubt["kind"], doubt["status"], doubt["symbol"]) == ("in_doubt", "in_doubt", "BTC_USDT")
    assert (doubt["why"], doubt["answer"]) == ("reset before execution", "no answer")
    assert doubt["asked"] >= 1
    assert doubt["since"] <= doubt["asked_at"]
    assert doubt["another_attempt"] is True
    assert doubt["settles"]
    assert doubt["decision"] is None


async def test_a_person_says_absent_and_nothing_more_is_sent(bench, ann):
    async with bench.worker():
        name = await in_doubt(bench, ann)
        reply = await decide(ann, name, "absent")
        assert (reply.status, reply.json()["decision"]["state"]) == (201, "pending"), reply
        await bench.until("SELECT state FROM doubt_decisions", "carried")
        doubt = await ann.get(f"/v1/doubts/{name}")
        assert (await ann.get("/v1/doubts"))["items"] == []
    assert (doubt["status"], doubt["decision"]["state"]) == ("absent", "carried")
    assert doubt["decision"]["decided_by"]["id"] == str(ann.person_id)
    assert bench.broker.executed == []
    assert await bench.rows(ATTEMPTS) == [(1, "absent")]
    assert await bench.rows(RECORDS) == [("doubt.decided",), ("doubt.carried",)]


async def test_a_person_says_absent_and_try_again_within_the_deadline(bench, ann):
    async with bench.worker():
        name = await in_doubt(bench, ann)
        bench.broker.finds.clear()
        bench.broker.finds.extend(["unproven"] * MANY)
        assert (await decide(ann, name, "absent", again=True)).status == 201
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
    assert await bench.rows(ATTEMPTS) == [(1, "absent"), (2, "filled")]
    assert [order.attempt for order in bench.broker.executed] == [2]


async def test_behind_its_deadline_no_attempt_follows_though_asked_for(bench, ann):
    async with bench.crashing_worker() as crash:
        name = await in_doubt(bench, ann)
        await crash()
        await bench.rows("UPDATE orders SET deadline = now() - interval '1 s' RETURNING 1")
    async with bench.worker(name="w2"):  # who reads the row anew
        assert (await decide(ann, name, "absent", again=True)).status == 201
        await bench.until("SELECT state FROM doubt_decisions", "carried")
    assert await bench.rows(ATTEMPTS) == [(1, "absent")]


async def test_a_person_says_what_filled_and_it_is_the_position(bench, ann):
    async with bench.worker():
        name = await in_doubt(bench, ann)
        facts = {"broker_order_id": "77", "ord_status": "filled", "cum_qty": "2", "avg_px": "50100"}
        assert (await decide(ann, name, "exists", **facts)).status == 201
        await bench.until("SELECT state FROM doubt_decisions", "carried")
    assert await bench.rows("SELECT qty, avg_px FROM positions") == [(Decimal(2), Decimal(50100))]
    assert await bench.rows("SELECT state, broker_order_id FROM orders") == [("filled", "77")]
    assert await bench.rows("SELECT cum_qty FROM execution_reports") == [(Decimal(2),)]


async def test_the_broker_that_answers_first_makes_the_decision_void(bench, ann):
    """The decision is there; the question behind it is answered."""
    async with bench.crashing_worker() as crash:
        name = await in_doubt(bench, ann, "lost_after")
        await crash()
    assert (await decide(ann, name, "absent", again=True)).status == 201
    bench.broker.finds.clear()
    async with bench.worker(name="w2"):
        await bench.until("SELECT state FROM doubt_decisions", "void")
        doubt = await ann.get(f"/v1/doubts/{name}")
    assert (doubt["status"], doubt["decision"]["state"]) == ("filled", "void")
    assert len(bench.broker.executed) == 1
    assert await bench.rows(RECORDS) == [("doubt.decided",), ("doubt.voided",)]


async def test_what_is_settled_is_not_decided_any_more(bench, ann):
    async with bench.worker():
        name = await in_doubt(bench, ann, "lost_after")
        bench.broker.finds.clear()
        await bench.until("SELECT count(*) FROM doubts WHERE settled_at IS NULL", 0)
        reply = await decide(ann, name, "absent")
    assert (reply.status, reply.json()["code"]) == (409, "conflict")
    assert await bench.rows("SELECT count(*) FROM doubt_decisions") == [(0,)]


async def test_of_two_decisions_the_first_counts(bench, ann):
    async with bench.crashing_worker() as crash:
        name = await in_doubt(bench, ann)
        await crash()
    assert (await decide(ann, name, "absent")).status == 201
    second = await decide(ann, name, "absent", again=True)
    assert (second.status, second.json()["code"]) == (409, "conflict")
    assert await bench.rows("SELECT again FROM doubt_decisions") == [(False,)]


IMPOSSIBLE = (
    ({"verdict": "exists"}, "verdict"),
    ({"verdict": "absent", "cum_qty": "1"}, "verdict"),
    ({"verdict": "stop", "again": True}, "again"),
    ({"verdict": "exists", "broker_order_id": "7", "ord_status": "new", "cum_qty": "NaN"}, "cum_qty"),
    ({"verdict": "exists", "broker_order_id": "7", "ord_status": "new", "cum_qty": "-1"}, "cum_qty"),
    ({"verdict": "exists", "broker_order_id": "7", "ord_status": "filled", "cum_qty": "2"}, "avg_px"),
    ({"verdict": "exists", "broker_order_id": "7", "ord_status": "filled", "cum_qty": "1", "avg_px": "5"},
     "cum_qty"),
    ({"verdict": "exists", "broker_order_id": "7", "ord_status": "canceled", "cum_qty": "2", "avg_px": "5"},
     "cum_qty"),
)  # fmt: skip


async def test_facts_that_contradict_each_other_are_refused(bench, ann):
    async with bench.crashing_worker() as crash:
        name = await in_doubt(bench, ann)
        await crash()
    for said, field in IMPOSSIBLE:
        reply = await decide(ann, name, **said)
        assert reply.status == 422, (said, reply)
        assert field in reply.json()["detail"]
    assert await bench.rows("SELECT count(*) FROM doubt_decisions") == [(0,)]


async def test_with_four_eyes_a_second_person_agrees_first(bench, ann, app, services):
    await bench.rows(
        """UPDATE tenants SET settings = '{"four_eyes": ["doubt"]}' WHERE kind = 'customer' RETURNING 1"""
    )
    ben = await signed_in(app, services, bench.scope, ["approver"], 2)
    async with bench.worker():
        name = await in_doubt(bench, ann)
        reply = await decide(ann, name, "absent")
        assert reply.status == 202, reply
        proposal = reply.json()["proposal_id"]
        assert await bench.rows("SELECT count(*) FROM doubt_decisions") == [(0,)]
        own = await ann("POST", f"/v1/proposals/{proposal}/approve", {})
        assert own.status == 403
        agreed = await ben("POST", f"/v1/proposals/{proposal}/approve", {})
        assert agreed.status == 200, agreed
        await bench.until("SELECT state FROM doubt_decisions", "carried")
        decision = (await ann.get(f"/v1/doubts/{name}"))["decision"]
    assert decision["decided_by"]["id"] == str(ann.person_id)
    assert decision["approved_by"]["id"] == str(ben.person_id)


async def test_no_key_and_no_viewer_decides_and_another_tenant_sees_nothing(
    bench, ann, admin, app, services
):
    async with bench.crashing_worker() as crash:
        name = await in_doubt(bench, ann)
        await crash()
    async with admin.tenant(bench.scope) as conn:
        key = await create_service_key(conn, bench.scope, "k", ["orders:read", "doubts:decide"])
    viewer = await signed_in(app, services, bench.scope, ["viewer"], 2)
    for who in (Client(app, key), viewer):
        assert (await decide(who, name, "absent")).status == 403
    bench.accounts.clear()
    await bench.set_up(1, tenant="Other")
    other = await signed_in(app, services, bench.scope, ["admin"], 3)
    assert (await other.get("/v1/doubts?settled=true"))["items"] == []
    assert (await other("GET", f"/v1/doubts/{name}")).status == 404
    assert (await decide(other, name, "absent")).status == 404


async def test_a_closing_order_that_cannot_be_sent_is_shown_and_stopped(bench, ann):
    bench.settings = type(bench.settings)(
        **{n: getattr(bench.settings, n) for n in bench.settings.__struct_fields__}
        | {"stuck_s": 0.2}
    )
    async with bench.worker():
        await bench.signal(quantity=2)
        await bench.until("SELECT count(*) FROM orders WHERE state = 'filled'", 1)
        bench.broker.faults.extend(["unsent"] * MANY)
        await bench.signal(action="exit")
        name = await shown(bench, ann)
        doubt = await ann.get(f"/v1/doubts/{name}")
        assert (doubt["kind"], doubt["status"]) == ("stuck", "intent")
        assert doubt["answer"] == "connection refused"
        refused = await decide(ann, name, "absent")
        assert (refused.status, refused.json()["code"]) == (409, "conflict")
        assert (await decide(ann, name, "stop")).status == 201
        await bench.until("SELECT state FROM doubt_decisions", "carried")
    (text,) = await bench.rows("SELECT text FROM orders WHERE state = 'unsent'")
    assert text[0].startswith("stopped: a person decided")
    assert await bench.rows("SELECT qty FROM positions") == [(Decimal(2),)]


async def test_a_decision_outlives_the_worker_that_should_carry_it_out(bench, ann):
    async with bench.crashing_worker() as crash:
        name = await in_doubt(bench, ann)
        await crash()
    assert (await decide(ann, name, "absent")).status == 201
    async with bench.worker(name="w2"):
        await bench.until("SELECT state FROM doubt_decisions", "carried")
    assert await bench.rows(ATTEMPTS) == [(1, "absent")]


async def test_no_attempt_follows_that_a_person_does_not_want_whoever_proves_the_absence(
    bench, ann
):
    """The broker proves it to a worker that has not heard of the decision yet."""
    async with bench.crashing_worker() as crash:
        name = await in_doubt(bench, ann)
        await crash()
    assert (await decide(ann, name, "absent")).status == 201
    bench.broker.finds.clear()
    async with bench.worker(name="w2"):
        await bench.until("SELECT state FROM doubt_decisions", "carried")
    assert await bench.rows(ATTEMPTS) == [(1, "absent")]
    assert bench.broker.executed == []


async def test_doubt_that_grows_old_is_told_once(bench, ann):
    bench.settings = type(bench.settings)(
        **{n: getattr(bench.settings, n) for n in bench.settings.__struct_fields__}
        | {"doubt_old_s": 0.0}
    )
    aged = "SELECT count(*) FROM audit_inbox WHERE kind = 'doubt.aged'"
    async with bench.crashing_worker() as crash:
        await in_doubt(bench, ann)
        await bench.until(aged, 1)
        # Written once more, and not told once more.
        before = (await bench.rows("SELECT asked FROM doubts"))[0][0]
        await bench.until(f"SELECT asked > {before} FROM doubts", True)
        await crash()
    assert await bench.rows(aged) == [(1,)]
