"""The ingress' log: one line for each signal, accepted or refused, with what finds it again and no secret."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.fakes.hooks import BODY, seed_hook, signed
from tests.fixtures.postgres import Database
from tests.integration.gateway.ingress import Reply, ingress, post

pytestmark = pytest.mark.stack


def fits(line: Any, reply: Reply, **said: Any) -> None:
    """The line names the answer's trace, how long it took, and this."""
    assert line["trace_id"] == reply.headers["portcullis-trace-id"]
    assert 0 < line["took_ms"] < 60_000
    assert {name: line.get(name) for name in said} == said


async def test_a_signal_and_its_repeat_have_one_line_each(database: Database, redis_server: str):
    hook = seed_hook(database.superuser)
    headers = signed(hook.secret, BODY, message_id="msg_1")
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        with capture_logs() as logs:
            first = await post(running.app, hook.path, headers, BODY)
            again = await post(running.app, hook.path, headers, BODY)
    accepted, repeated = [line for line in logs if line["event"] == "signal_accepted"]
    name = first.json()["signalId"]
    fits(accepted, first, signal_id=name, hook_id=hook.hook_id, status=202, code="accepted")
    fits(repeated, again, signal_id=name, hook_id=hook.hook_id, status=202, code="repeated")
    assert hook.secret not in str(logs)
    assert headers["webhook-signature"] not in str(logs)


async def test_a_refused_signal_has_a_line_with_its_code_and_the_next_ones_are_counted(
    database: Database, redis_server: str
):
    """A hook that is hammered fills no disk: one line a second, which says how many it stands for."""
    hook = seed_hook(database.superuser)
    other = seed_hook(database.superuser, name="other")
    wrong = signed(other.secret, BODY)
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        with capture_logs() as logs:
            replies = [await post(running.app, hook.path, wrong, BODY) for _ in range(5)]
            unfit = await post(running.app, other.path, signed(other.secret, b"{}"), b"{}")
    assert {reply.status for reply in replies} == {401}
    refused, not_fit = [line for line in logs if line["event"] == "signal_refused"]
    fits(refused, replies[0], hook_id=hook.hook_id, status=401, code="bad_signature", suppressed=0)
    fits(not_fit, unfit, hook_id=other.hook_id, status=422, suppressed=0)
    assert not_fit["message_id"]


async def test_a_request_to_no_hook_of_ours_has_a_line_that_repeats_nothing_of_it(
    database: Database, redis_server: str
):
    """Whoever mistypes an address may have typed a token into it."""
    hook = seed_hook(database.superuser)
    path = "/v1/hooks/a-token-by-mistake"
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        with capture_logs() as logs:
            replies = [await post(running.app, path, signed(hook.secret, BODY), BODY) for _ in "ab"]
    (line,) = [line for line in logs if line["event"] == "signal_refused"]
    fits(line, replies[0], hook_id=None, status=401, code="bad_signature")
    assert "a-token-by-mistake" not in str(logs)


async def test_a_signal_that_failed_here_has_a_line_though_nothing_can_be_recorded(
    database: Database, redis_server: str
):
    hook = seed_hook(database.superuser)
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        await post(running.app, hook.path, signed(hook.secret, BODY), BODY)
        await running.acceptor.stop()
        with capture_logs() as logs:
            replies = [
                await post(running.app, hook.path, signed(hook.secret, BODY), BODY) for _ in "ab"
            ]
    lines = [line for line in logs if line["event"] == "signal_failed"]
    for line, reply in zip(lines, replies, strict=True):
        fits(line, reply, hook_id=hook.hook_id, status=503, code="unavailable", log_level="warning")
        assert line["message_id"]
