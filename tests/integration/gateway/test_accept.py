"""A signed webhook is kept once and answered after its commit."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import psycopg
import pytest
from redis.asyncio import Redis

from audit.receipts import Receipt
from fanout.wake import STREAM, Wake, read
from tests.fakes.hooks import BASE_URL, BODY, add_secret, new_secret, seed_hook, signed
from tests.fixtures.postgres import Database
from tests.integration.gateway.ingress import ingress, post

pytestmark = pytest.mark.stack


def rows(database: Database, query: str) -> list[Any]:
    with psycopg.connect(database.superuser) as conn:
        return conn.execute(query).fetchall()


async def test_a_signed_signal_is_kept_with_its_record_and_wakes_a_worker(
    database: Database, redis_server: str, redis_client: Redis
) -> None:
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        reply = await post(running.app, hook.path, signed(hook.secret, BODY), BODY)
        assert reply.status == 202
        signal_id = reply.json()["signalId"]
        assert reply.json() == {
            "signalId": signal_id,
            "status": "accepted",
            "links": {"self": f"{BASE_URL}/v1/signals/{signal_id}"},
        }
        kept = rows(database, "SELECT signal_id::text, body, traceparent, part FROM signals")
        assert kept[0][:2] == (signal_id, BODY)
        assert reply.headers["portcullis-trace-id"] == kept[0][2].split("-")[1]
        assert rows(database, "SELECT kind FROM audit_inbox") == [("signal.accepted",)]
        for _ in range(100):
            entries = await redis_client.xrange(STREAM)
            if entries:
                break
            await asyncio.sleep(0.01)
        woken = read(entries[0][1])
        assert isinstance(woken, Wake)
        assert (str(woken.id), woken.part) == (signal_id, kept[0][3])


async def test_a_repeat_gets_the_same_bytes_and_causes_nothing_but_a_record_that_it_came(
    database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        headers = signed(hook.secret, BODY, message_id="msg_1")
        first = await post(running.app, hook.path, headers, BODY)
        again = await post(
            running.app, hook.path, signed(hook.secret, BODY, message_id="msg_1"), BODY
        )
        assert (again.status, again.body) == (first.status, first.body)
        own = ("ratelimit", "portcullis-receipt")
        told = [{k: v for k, v in r.headers.items() if k not in own} for r in (first, again)]
        assert told[0] == told[1], (
            "all but what is left of the quotas, and the delivery's own receipt"
        )
    assert rows(database, "SELECT count(*) FROM signals") == [(1,)]
    kept = rows(database, "SELECT kind, ts, pc FROM audit_inbox ORDER BY seq")
    assert [kind for kind, _, _ in kept] == ["signal.accepted", "signal.received"]
    assert [r.headers["portcullis-receipt"] for r in (first, again)] == [
        str(Receipt(ts, bytes(pc))) for _, ts, pc in kept
    ]
    (said,) = rows(database, "SELECT payload FROM audit_inbox WHERE kind = 'signal.received'")
    payload = json.loads(bytes(said[0]))
    assert (payload["signal_id"], payload["repeats"]) == (first.json()["signalId"], True)
    assert "body" not in payload


async def test_repeats_in_one_batch_are_one_signal(database: Database, redis_server: str) -> None:
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        headers = signed(hook.secret, BODY, message_id="msg_1")
        replies = await asyncio.gather(
            *(post(running.app, hook.path, headers, BODY) for _ in range(40))
        )
    assert {reply.status for reply in replies} == {202}
    assert len({reply.body for reply in replies}) == 1
    assert rows(database, "SELECT count(*) FROM signals") == [(1,)]


async def test_the_same_id_with_another_body_is_a_conflict_and_leaves_a_record(
    database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    other = BODY.replace(b"buy", b"sell")
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        await post(running.app, hook.path, signed(hook.secret, BODY, message_id="m"), BODY)
        reply = await post(
            running.app, hook.path, signed(hook.secret, other, message_id="m"), other
        )
    assert reply.status == 409
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == "message_conflict"
    assert rows(database, "SELECT body FROM signals") == [(BODY,)]
    assert rows(database, "SELECT kind FROM audit_inbox ORDER BY seq") == [
        ("signal.accepted",),
        ("signal.refused",),
    ]


async def test_both_live_secrets_sign_while_rotating_and_a_revoked_one_does_not(
    database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    newer = new_secret()
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        add_secret(database.superuser, hook, newer)
        await running.registry.refresh()
        for secret in (hook.secret, newer):
            assert (await post(running.app, hook.path, signed(secret, BODY), BODY)).status == 202
        with psycopg.connect(database.superuser) as conn:
            conn.execute(
                "UPDATE hook_secrets SET revoked_at = now() WHERE secret_id = "
                "(SELECT secret_id FROM hook_secrets ORDER BY created_at LIMIT 1)"
            )
        await running.registry.refresh()
        assert (await post(running.app, hook.path, signed(hook.secret, BODY), BODY)).status == 401
        assert (await post(running.app, hook.path, signed(newer, BODY), BODY)).status == 202
