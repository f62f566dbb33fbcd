"""Each part that ingress needs goes away once: what is then known, and what the sender is told."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from gateway.hooks import accept
from gateway.hooks.settings import HookSettings, KeepSettings, RateSettings
from tenancy.errors import OutcomeUnknown
from tests.fakes.hooks import (
    BASE_URL,
    BODY,
    ReversingOpener,
    add_secret,
    new_secret,
    seed_hook,
    signed,
)
from tests.fixtures.postgres import Cluster, Database
from tests.integration.gateway.ingress import GENEROUS, Ingress, Reply, ingress, post

pytestmark = pytest.mark.stack


async def send(running: Ingress, path: str, secret: str, message_id: str | None = None) -> Reply:
    return await post(running.app, path, signed(secret, BODY, message_id=message_id), BODY)


def counted(database: Database, table: str) -> Any:
    with psycopg.connect(database.superuser) as conn:
        return conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # type: ignore[index]


async def test_a_lost_answer_to_commit_is_unknown_and_the_retry_finds_the_first(
    database: Database, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = seed_hook(database.superuser)
    real = accept.commit

    async def commit_and_lose_the_answer(conn: Any) -> None:
        await real(conn)
        monkeypatch.setattr(accept, "commit", real)
        raise OutcomeUnknown("cut")

    async with ingress(database.conninfo("ingress"), redis_server) as running:
        monkeypatch.setattr(accept, "commit", commit_and_lose_the_answer)
        first = await send(running, hook.path, hook.secret, "msg_1")
        assert (first.status, first.json()["code"]) == (503, "outcome_unknown")
        assert int(first.headers["retry-after"]) >= 1
        await asyncio.sleep(0.2)
        again = await send(running, hook.path, hook.secret, "msg_1")
        assert again.status == 202
    assert counted(database, "signals") == 1
    with psycopg.connect(database.superuser) as conn:
        kinds = conn.execute("SELECT kind FROM audit_inbox ORDER BY seq").fetchall()
    assert kinds == [("signal.accepted",), ("signal.received",)], "one signal, delivered twice"


async def test_an_idle_connection_that_was_cut_costs_nobody_an_answer(
    database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        assert (await send(running, hook.path, hook.secret)).status == 202
        database.cut_connections()
        assert (await send(running, hook.path, hook.secret)).status == 202


async def test_without_postgresql_loaded_hooks_verify_and_keeping_says_come_back(
    postgres: Cluster, database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        assert (await send(running, hook.path, hook.secret)).status == 202
        postgres.stop()
        try:
            reply = await send(running, hook.path, hook.secret)
            assert (reply.status, reply.json()["code"]) == (503, "unavailable")
            assert int(reply.headers["retry-after"]) >= 1
            assert (await send(running, hook.path, new_secret())).status == 401
        finally:
            postgres.start()
        for _ in range(100):
            reply = await send(running, hook.path, hook.secret)
            if reply.status == 202:
                break
            await asyncio.sleep(0.05)
        assert reply.status == 202


async def test_without_redis_signals_are_kept_and_rates_still_hold(
    database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    settings = HookSettings(management_base_url=BASE_URL, rate=RateSettings(per_minute=5))
    async with ingress(database.conninfo("ingress"), redis_server + ".away", settings) as running:
        replies = [await send(running, hook.path, hook.secret) for _ in range(8)]
    assert [reply.status for reply in replies] == [202] * 5 + [429] * 3
    assert int(replies[-1].headers["retry-after"]) >= 1
    assert counted(database, "signals") == 5


async def test_without_the_signer_new_secrets_wait_and_open_ones_go_on(
    database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    opener = ReversingOpener()
    async with ingress(database.conninfo("ingress"), redis_server, opener=opener) as running:
        opener.away = True
        newer = new_secret()
        secret_id = add_secret(database.superuser, hook, newer)
        await running.registry.refresh()
        assert (await send(running, hook.path, hook.secret)).status == 202
        waiting = await send(running, hook.path, newer)
        assert (waiting.status, waiting.json()["code"]) == (503, "unavailable")
        opener.away = False
        async with asyncio.timeout(2):
            while (await send(running, hook.path, newer)).status != 202:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert opener.opened.count(str(secret_id)) == 1


async def test_a_signer_that_hangs_holds_no_revocation_up(
    database: Database, redis_server: str
) -> None:
    """A new secret waits to be opened, for ever; a revoked one and a disabled hook are gone all the same."""
    hook = seed_hook(database.superuser)
    opener = HangingOpener()
    async with ingress(database.conninfo("ingress"), redis_server, opener=opener) as running:
        opener.hangs = True
        add_secret(database.superuser, hook, new_secret())
        async with asyncio.timeout(2):
            await opener.asked.wait()
        with psycopg.connect(database.superuser) as conn:
            conn.execute("UPDATE hooks SET enabled = false")
        async with asyncio.timeout(1):
            while (await send(running, hook.path, hook.secret)).status != 401:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


class HangingOpener(ReversingOpener):
    """A signer that takes a question and does not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs = False
        self.asked = asyncio.Event()

    async def open_secret(self, sealed: bytes, **names: Any) -> bytes:
        if self.hangs:
            self.asked.set()
            await asyncio.Event().wait()
        return await super().open_secret(sealed, **names)


async def test_a_new_hook_is_found_at_once_and_a_disabled_one_is_gone(
    database: Database, redis_server: str
) -> None:
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        hook = seed_hook(database.superuser)
        assert (await send(running, hook.path, hook.secret)).status == 202
        with psycopg.connect(database.superuser) as conn:
            conn.execute("UPDATE hooks SET enabled = false")
        await running.registry.refresh()
        assert (await send(running, hook.path, hook.secret)).status == 401


async def test_more_than_the_queue_holds_is_told_so_at_once(
    database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    keep = KeepSettings(queue_max=4, batch_max=2)
    settings = HookSettings(management_base_url=BASE_URL, rate=GENEROUS, keep=keep)
    async with ingress(database.conninfo("ingress"), redis_server, settings) as running:
        replies = await asyncio.gather(*(send(running, hook.path, hook.secret) for _ in range(60)))
    statuses = [reply.status for reply in replies]
    overloaded = [reply for reply in replies if reply.status == 503]
    assert overloaded
    assert {reply.json()["code"] for reply in overloaded} == {"overloaded"}
    assert counted(database, "signals") == statuses.count(202)


async def test_refusals_of_known_hooks_are_recorded_once_a_second_with_the_number_left_out(
    database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        for _ in range(5):
            await send(running, hook.path, new_secret())
        await asyncio.sleep(1.05)
        await send(running, hook.path, new_secret())
    with psycopg.connect(database.superuser) as conn:
        rows = conn.execute("SELECT kind, payload FROM audit_inbox ORDER BY seq").fetchall()
    assert [row[0] for row in rows] == ["signal.refused"] * 2
    assert b'"suppressed":0' in bytes(rows[0][1])
    assert b'"suppressed":4' in bytes(rows[1][1])
    assert hook.secret.encode() not in bytes(rows[0][1])
