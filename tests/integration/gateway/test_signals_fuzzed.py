"""Hostile bodies, rightly signed: each is kept or refused with its reason, none breaks the listener."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice

import psycopg
import pytest

from tests.fakes.hooks import seed_hook
from tests.fixtures.postgres import Database
from tests.hostile_signals import bodies
from tests.integration.gateway.ingress import ingress, post
from tests.integration.gateway.test_hostile_input import signed_bytes

pytestmark = pytest.mark.stack
AT_ONCE = 16


async def test_nothing_that_can_be_signed_is_an_error_of_ours(
    database: Database, redis_server: str
) -> None:
    hook = seed_hook(database.superuser)
    came: Counter[int] = Counter()
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        sent = iter(list(islice(bodies(21), 1500)))

        async def sender() -> None:
            for body in sent:
                reply = await post(running.app, hook.path, signed_bytes(hook.secret, body), body)
                came[reply.status] += 1
                assert reply.status in (202, 422), (reply.status, reply.body, body)
                assert reply.status == 202 or reply.json()["code"] == "invalid_signal"

        await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    with psycopg.connect(database.superuser) as conn:
        kept = conn.execute("SELECT count(*) FROM signals").fetchone()
    assert kept == (came[202],), "each 202 is a row, and nothing else is"
    assert came[202] > 100 < came[422]
