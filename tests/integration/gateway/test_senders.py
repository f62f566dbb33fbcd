"""What docs/senders shows, run against an ingress: real HTTP, real PostgreSQL, real Redis."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from hypercorn.asyncio import serve

from gateway.hooks.verify import Secret, Verified, read_secret, verify
from gateway.listener import hypercorn_config
from gateway.sender_kit.portcullis_sender import (
    InvalidSignal,
    MessageConflict,
    Sender,
    Signal,
    Unauthenticated,
)
from gateway.sender_kit.portcullis_sender.aio import AsyncSender
from tests.fakes.hooks import SeededHook, new_secret, seed_hook
from tests.fakes.scripted_http import reply, scripted
from tests.fixtures.postgres import Database
from tests.integration.gateway.ingress import ingress

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs/senders/examples"
BODY = '{"ticker":"BTC_USDT","action":"buy","quantity":"0.5"}'
COMMANDS = {
    "curl": ("bash", str(EXAMPLES / "send.sh"), BODY),
    "python": (sys.executable, str(EXAMPLES / "send.py"), "BTC_USDT", "buy", "0.5"),
    "node": ("node", str(EXAMPLES / "send.mjs"), BODY),
}


@pytest.fixture
async def gateway(database: Database, redis_server: str) -> AsyncIterator[str]:
    """The address of an ingress on loopback."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = hypercorn_config(f"fd://{listening.detach()}")
    async with ingress(database.conninfo("ingress"), redis_server) as running:
        stop = asyncio.Event()
        port = socket.socket(fileno=os.dup(int(config.bind[0].removeprefix("fd://"))))
        address = f"http://127.0.0.1:{port.getsockname()[1]}"
        port.close()
        serving = asyncio.create_task(serve(running.app, config, shutdown_trigger=stop.wait))
        yield address
        stop.set()
        await serving


@pytest.fixture
def hook(database: Database) -> SeededHook:
    return seed_hook(database.superuser)


async def ran(command: tuple[str, ...], url: str, secret: str, **more: str) -> tuple[int, str, str]:
    program = shutil.which(command[0])
    assert program is not None, f"the machine that tests has {command[0]}"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "gateway/sender_kit"),
        "HOOK_URL": url,
        "HOOK_SECRET": secret,
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        program, *command[1:], env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def kept(database: Database) -> dict[UUID, dict[str, object]]:
    with psycopg.connect(database.superuser) as conn:
        rows = conn.execute("SELECT signal_id, body FROM signals").fetchall()
    return {row[0]: json.loads(bytes(row[1])) for row in rows}


@pytest.mark.parametrize("name", sorted(COMMANDS))
async def test_each_example_sends_a_signal_and_a_repeat_of_it(
    name: str, gateway: str, hook: SeededHook, database: Database
) -> None:
    url = gateway + hook.path
    answers = [await ran(COMMANDS[name], url, hook.secret, MESSAGE_ID="msg_one") for _ in range(2)]
    assert [code for code, _, _ in answers] == [0, 0], answers
    (signal_id,) = {UUID(json.loads(out)["signalId"]) for _, out, _ in answers}
    assert kept(database) == {signal_id: json.loads(BODY)}


@pytest.mark.parametrize("name", sorted(COMMANDS))
async def test_each_example_prints_the_one_answer_that_counts(name: str, hook: SeededHook) -> None:
    """A 503 is asked again; what is printed for a program to read is the answer after it."""
    json_type = {"content_type": "application/json"}
    taken = {"signalId": "019c1f3e-0000-7000-8000-000000000000", "status": "accepted"}
    answers = [
        reply(503, {"code": "unavailable"}, **json_type),
        reply(202, taken, **json_type),
    ]
    async with scripted(lambda seen: answers.pop(0)) as server:
        code, out, err = await ran(COMMANDS[name], server.url + hook.path, hook.secret)
    assert (code, answers) == (0, []), (out, err)
    assert json.loads(out)["signalId"] == "019c1f3e-0000-7000-8000-000000000000"


@pytest.mark.parametrize("name", sorted(COMMANDS))
async def test_each_example_stops_at_a_refusal(
    name: str, gateway: str, hook: SeededHook, database: Database
) -> None:
    other = new_secret()
    code, out, err = await ran(COMMANDS[name], gateway + hook.path, other)
    assert code == 1, (out, err)
    assert "bad_signature" in out + err
    assert other not in out + err
    assert kept(database) == {}


async def test_webcrypto_signs_what_the_gateway_takes(hook: SeededHook) -> None:
    script = (
        f"import {{signed}} from {json.dumps((EXAMPLES / 'webcrypto.mjs').as_uri())};"
        "console.log(JSON.stringify(await signed(process.env.HOOK_SECRET, 'm', process.argv[1], 1700000000)))"
    )
    code, out, err = await ran(("node", "--input-type=module", "-e", script, BODY), "", hook.secret)
    assert code == 0, err
    headers = [(name.encode(), value.encode()) for name, value in json.loads(out).items()]
    secret = Secret("v1", read_secret(hook.secret.encode()))
    assert verify(headers, BODY.encode(), (secret,), now=1_700_000_000) == Verified(
        "m", 1_700_000_000
    )


async def test_the_kit_and_the_ingress_mean_the_same(
    gateway: str, hook: SeededHook, database: Database
) -> None:
    buy = Signal(ticker="BTC_USDT", action="buy", quantity="0.5")
    async with AsyncSender(gateway + hook.path, hook.secret) as strategy:
        first = await strategy.send(buy, message_id="msg_one")
        repeat = await strategy.send(buy, message_id="msg_one")
        assert (first.signal_id, first.status) == (repeat.signal_id, "accepted")
        assert first.link is not None
        assert first.link.endswith(first.signal_id)
        with pytest.raises(MessageConflict):
            await strategy.send(Signal(ticker="ETH_USDT", action="buy"), message_id="msg_one")
        with pytest.raises(InvalidSignal) as caught:
            await strategy.send(Signal(ticker="X", action="buy", quantity="-1"))
        assert caught.value.problem.code == "invalid_signal"
        assert caught.value.problem.trace_id
    with Sender(gateway + hook.path, new_secret()) as stranger, pytest.raises(Unauthenticated):
        await asyncio.to_thread(stranger.send, buy)
    with Sender(gateway + hook.path, hook.secret, new_secret()) as rotating:
        second = await asyncio.to_thread(rotating.send, buy)
    assert set(kept(database)) == {UUID(first.signal_id), UUID(second.signal_id)}
