"""`Prefer: wait=N`: who asks hears the outcome, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from uuid import UUID

import psycopg
import pytest

from gateway.hooks.settings import HookSettings, WaitSettings
from tests.fakes.hooks import BASE_URL, BODY, SeededHook, add_secret, new_secret, seed_hook, signed
from tests.fixtures.postgres import Database
from tests.integration.fanout.conftest import Bench
from tests.integration.gateway.ingress import GENEROUS, Reply, http_scope, ingress

pytestmark = pytest.mark.stack

SUMMARY = '{"state":"done","accounts":3,"states":{"filled":3}}'


def settings(**wait: Any) -> HookSettings:
    return HookSettings(
        management_base_url=BASE_URL, rate=GENEROUS, wait=WaitSettings(**({"poll_s": 0.01} | wait))
    )


class Sender:
    """A connection that stays open after its request, until it is told to leave."""

    def __init__(
        self, app: Any, hook: SeededHook, *, message_id: str = "m", prefer: str | None
    ) -> None:
        self.sent: list[Any] = []
        self.leaves = asyncio.Event()
        headers = signed(hook.secret, BODY, message_id=message_id)
        if prefer is not None:
            headers["prefer"] = prefer
        scope = http_scope("POST", hook.path, headers)
        self.task = asyncio.create_task(app(scope, self._receive, self._send))
        self._read = False

    async def _receive(self) -> Any:
        if not self._read:
            self._read = True
            return {"type": "http.request", "body": BODY, "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    async def reply(self, within_s: float = 5.0) -> Reply:
        await asyncio.wait_for(self.task, within_s)
        start = self.sent[0]
        return Reply(
            start["status"],
            {k.decode(): v.decode() for k, v in start["headers"]},
            b"".join(m.get("body", b"") for m in self.sent[1:]),
        )


def change(database: Database, query: str, *values: Any) -> None:
    with psycopg.connect(database.superuser, autocommit=True) as conn:
        conn.execute(query, values)


async def kept(database: Database, signals: int = 1) -> list[UUID]:
    """The ids of the signals, once there are so many."""
    for _ in range(500):
        with psycopg.connect(database.superuser) as conn:
            rows = conn.execute("SELECT signal_id FROM signals ORDER BY 1").fetchall()
        if len(rows) >= signals:
            return [row[0] for row in rows]
        await asyncio.sleep(0.01)
    raise AssertionError("no signal was kept")


def plan(database: Database, signal: UUID) -> None:
    change(
        database,
        "INSERT INTO signal_outcomes (signal_id, tenant_id, strategy_id, part, reasons)"
        " SELECT signal_id, tenant_id, strategy_id, part, %s FROM signals WHERE signal_id = %s",
        json.dumps({"order": 3}), signal,
    )  # fmt: skip
    change(database, "UPDATE signals SET state = 'planned' WHERE signal_id = %s", signal)


def finish(database: Database, signal: UUID) -> None:
    change(
        database,
        "UPDATE signal_outcomes SET done_at = now(), summary = %s WHERE signal_id = %s",
        SUMMARY, signal,
    )  # fmt: skip


async def test_who_waits_hears_the_outcome_when_the_signal_is_done(
    database: Database, redis_server: str
):
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server, settings()) as running:
        sender = Sender(running.app, hook, prefer="wait=20")
        (signal,) = await kept(database)
        await asyncio.sleep(0.05)
        assert sender.sent == []
        plan(database, signal)
        finish(database, signal)
        reply = await sender.reply()
    assert reply.status == 200
    assert reply.headers["preference-applied"] == "wait=20"
    assert reply.json() == {
        "signalId": str(signal),
        "status": "done",
        "links": {"self": f"{BASE_URL}/v1/signals/{signal}"},
        "outcome": json.loads(SUMMARY),
    }


async def test_when_the_time_is_over_what_is_known_is_said(database: Database, redis_server: str):
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server, settings()) as running:
        sender = Sender(running.app, hook, prefer="wait=1")
        (signal,) = await kept(database)
        plan(database, signal)
        reply = await sender.reply()
    assert (reply.status, reply.headers["preference-applied"]) == (202, "wait=1")
    assert reply.json()["status"] == "planned"
    assert reply.json()["outcome"] == {
        "state": "planned", "accounts": 3, "reasons": {"order": 3},
    }  # fmt: skip


async def test_nobody_waits_longer_than_is_set(database: Database, redis_server: str):
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server, settings(most_s=1)) as running:
        started = time.monotonic()
        reply = await Sender(running.app, hook, prefer="wait=3600").reply()
    assert time.monotonic() - started < 3
    assert (reply.status, reply.headers["preference-applied"]) == (202, "wait=1")


async def test_without_the_preference_the_answer_is_the_same_to_the_byte(
    database: Database, redis_server: str
):
    """Also where there is no place to wait, and where waiting is switched off."""
    hook = seed_hook(database.superuser)
    bodies, headers = set(), set()
    for wait in (settings(), settings(most_s=0), settings(senders_max=0), settings(tenant_max=0)):
        async with ingress(database.conninfo("ingress"), redis_server, wait) as running:
            for prefer in (None, "wait=20") if wait != settings() else (None, "wait=x"):
                reply = await Sender(running.app, hook, prefer=prefer).reply()
                assert reply.status == 202
                bodies.add(reply.body)
                headers.add(frozenset(reply.headers) - {"ratelimit"})
    assert len(bodies) == 1
    assert len(headers) == 1
    assert "preference-applied" not in next(iter(headers))


async def test_a_repeat_waits_for_the_first_ones_outcome(database: Database, redis_server: str):
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server, settings()) as running:
        first = Sender(running.app, hook, prefer="wait=20")
        (signal,) = await kept(database)
        again = Sender(running.app, hook, prefer="wait=20")
        await asyncio.sleep(0.1)
        assert again.sent == []
        plan(database, signal)
        finish(database, signal)
        told = [(await sender.reply()).body for sender in (first, again)]
        later = await Sender(running.app, hook, prefer="wait=20").reply()
    assert told[0] == told[1] == later.body


async def test_a_sender_that_leaves_gives_its_place_back(database: Database, redis_server: str):
    hook = seed_hook(database.superuser)
    one = settings(senders_max=1)
    async with ingress(database.conninfo("ingress"), redis_server, one) as running:
        sender = Sender(running.app, hook, prefer="wait=20")
        await kept(database)
        full = await Sender(running.app, hook, message_id="2", prefer="wait=20").reply()
        assert "preference-applied" not in full.headers
        sender.leaves.set()
        await asyncio.wait_for(sender.task, 2)
        third = Sender(running.app, hook, message_id="3", prefer="wait=20")
        signals = await kept(database, 3)
        plan(database, signals[2])
        finish(database, signals[2])
        assert (await third.reply()).status == 200


async def test_one_tenant_cannot_take_every_place(database: Database, redis_server: str):
    noisy, quiet = seed_hook(database.superuser), seed_hook(database.superuser, name="q")
    shared = settings(senders_max=3, tenant_max=2)
    async with ingress(database.conninfo("ingress"), redis_server, shared) as running:
        many = [Sender(running.app, noisy, message_id=str(n), prefer="wait=20") for n in range(4)]
        await kept(database, 4)
        await asyncio.sleep(0.05)
        assert sum(sender.task.done() for sender in many) == 2
        other = Sender(running.app, quiet, prefer="wait=20")
        await kept(database, 5)
        await asyncio.sleep(0.05)
        assert not other.task.done()
        for sender in (*many, other):
            sender.leaves.set()
        await asyncio.gather(*(sender.task for sender in (*many, other)))


async def test_waiting_holds_no_connection_and_delays_nobody(database: Database, redis_server: str):
    """The pool has two connections; a hundred wait, and others are answered as ever."""
    hook = seed_hook(database.superuser)
    async with ingress(
        database.conninfo("ingress"), redis_server, settings(tenant_max=100)
    ) as running:
        many = [Sender(running.app, hook, message_id=str(n), prefer="wait=20") for n in range(100)]
        signals = await kept(database, 100)
        started = time.monotonic()
        for n in range(20):
            reply = await Sender(running.app, hook, message_id=f"o{n}", prefer=None).reply()
            assert reply.status == 202
        assert time.monotonic() - started < 2
        for signal in signals:
            plan(database, signal)
            finish(database, signal)
        assert {(await sender.reply()).status for sender in many} == {200}


async def test_a_hook_hears_of_its_own_signals_only(database: Database, redis_server: str):
    """The function that tells is asked with signal and hook, and knows no other pair."""
    hook, other = seed_hook(database.superuser), seed_hook(database.superuser, name="o")
    async with ingress(database.conninfo("ingress"), redis_server, settings()) as running:
        await Sender(running.app, hook, prefer=None).reply()
    (signal,) = await kept(database)
    with psycopg.connect(database.conninfo("ingress"), autocommit=True) as conn:
        find = "SELECT state FROM find_outcomes(%s::uuid[], %s)"
        assert conn.execute(find, ([signal], [hook.hook_id])).fetchall() == [("accepted",)]
        assert conn.execute(find, ([signal], [other.hook_id])).fetchall() == []
        for table in ("signal_outcomes", "orders"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(f"SELECT FROM {table}")


async def test_when_the_process_stops_whoever_waits_is_answered(
    database: Database, redis_server: str
):
    hook = seed_hook(database.superuser)
    stop = asyncio.Event()
    async with ingress(
        database.conninfo("ingress"), redis_server, settings(), stop=stop
    ) as running:
        sender = Sender(running.app, hook, prefer="wait=20")
        await kept(database)
        stop.set()
        assert (await sender.reply(2)).status == 202


async def test_without_postgresql_whoever_waits_gets_its_202_in_time(
    database: Database, redis_server: str
):
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server, settings()) as running:
        sender = Sender(running.app, hook, prefer="wait=2")
        await kept(database)
        change(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'portcullis_ingress'",
        )
        change(database, "REVOKE EXECUTE ON FUNCTION find_outcomes FROM portcullis_ingress")
        reply = await sender.reply()
    assert reply.status == 202
    assert reply.json()["outcome"] == {"state": "accepted"}


async def test_from_the_webhook_to_the_brokers_fills_in_one_answer(
    database: Database, redis_server: str
):
    """The whole way: kept, planned, sent to the broker, filled; the answer has all of it."""
    bench = Bench(database)
    await bench.set_up(5)
    hook = SeededHook(bench.hook, bench.scope.tenant_id, bench.strategy, new_secret())
    add_secret(database.superuser, hook, hook.secret)
    bench.broker.faults.append("reject")
    async with (
        ingress(database.conninfo("ingress"), redis_server, settings()) as running,
        bench.worker(),
    ):
        reply = await Sender(running.app, hook, prefer="wait=20").reply(20)
    assert (reply.status, reply.json()["status"]) == (200, "done")
    outcome = reply.json()["outcome"]
    assert outcome["states"] == {"failed": 1, "filled": 4}
    assert outcome["totals"][0]["cum_qty"] == "8"
    assert outcome["latency"]["fill_ms"]["n"] == 4
