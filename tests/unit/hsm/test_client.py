"""The client's patience: what it asks again, of whom, and what it says at the deadline."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from hsm import protocol
from hsm.client import PATIENCE_S, SignerClient
from hsm.errors import KeyMissing, SignerBusy, SignerUnavailable, SigningRefused, TokenLost
from hsm.line import unfit


class Door:
    """A daemon that speaks the wire: `answer` says to each request what comes back, None for silence."""

    def __init__(self, path, answer):
        self.path, self.answer = path, answer
        self.asked, self.forgotten = [], []
        self.figures = {}

    async def serve(self, reader, writer):
        frames = protocol.FrameReader()
        try:
            while data := await reader.read(65536):
                for body in frames.feed(data):
                    self.take(protocol.read_request(body), writer)
        finally:
            writer.close()

    def take(self, request, writer):
        if isinstance(request, protocol.Status):
            writer.write(protocol.frame(protocol.Figures(request.id, self.figures)))
        elif isinstance(request, protocol.Forget):
            self.forgotten.append(request.id)
        else:
            self.asked.append(request.id)
            answer = self.answer(len(self.asked))
            if isinstance(answer, bytes):
                writer.write(protocol.frame(protocol.Done(request.id, answer)))
            elif answer is not None:
                writer.write(protocol.refusal(request.id, answer))


@asynccontextmanager
async def door(path, answer):
    opened = Door(path, answer)
    tasks = set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        await opened.serve(reader, writer)

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield opened
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def test_a_lost_token_is_asked_again_until_another_answers(tmp_path):
    def answer(count):
        return TokenLost("gone") if count < 4 else b"signed"

    async with door(tmp_path / "a", answer) as a, SignerClient(tmp_path / "a") as client:
        assert await client.public_key("x") == b"signed"
        assert len(a.asked) == 4


@pytest.mark.parametrize("refusal", [SigningRefused("no"), KeyMissing("none")])
async def test_what_is_refused_for_good_is_asked_once(tmp_path, refusal):
    async with door(tmp_path / "a", lambda _: refusal) as a, SignerClient(tmp_path / "a") as client:
        with pytest.raises(type(refusal)):
            await client.public_key("x")
        assert len(a.asked) == 1


async def test_busy_is_asked_again_with_pauses_that_grow_and_is_the_error_at_the_deadline(tmp_path):
    async with (
        door(tmp_path / "a", lambda _: SignerBusy("full")) as a,
        SignerClient(tmp_path / "a", timeout_s=0.5) as client,
    ):
        started = time.monotonic()
        with pytest.raises(SignerBusy):
            await client.public_key("x")
        assert time.monotonic() - started < 0.6
        assert 3 <= len(a.asked) <= 12


async def test_a_silent_daemon_is_not_waited_for_where_there_is_another(tmp_path):
    async with (
        door(tmp_path / "a", lambda _: None) as a,
        door(tmp_path / "b", lambda _: b"signed") as b,
        SignerClient(tmp_path / "a", tmp_path / "b", timeout_s=5) as client,
    ):
        await client.status()
        await asyncio.sleep(0.1)  # both lines stand
        started = time.monotonic()
        assert await client.public_key("x") == b"signed"
        assert time.monotonic() - started < PATIENCE_S + 0.3
        assert (len(a.asked), len(b.asked)) == (1, 1)


async def test_an_answer_that_nobody_waits_for_is_called_off(tmp_path):
    """By whoever cancels, and by the deadline."""
    async with (
        door(tmp_path / "a", lambda _: None) as a,
        SignerClient(tmp_path / "a", timeout_s=0.3) as client,
    ):
        task = asyncio.create_task(client.public_key("x"))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with pytest.raises(SignerUnavailable, match="no answer within"):
            await client.public_key("y")
        await asyncio.sleep(0.05)
        assert sorted(a.forgotten) == sorted(a.asked)


async def test_a_daemon_that_hangs_or_ends_is_not_gone_back_to(tmp_path):
    async with (
        door(tmp_path / "a", lambda _: b"first") as a,
        door(tmp_path / "b", lambda _: b"second"),
        SignerClient(tmp_path / "a", tmp_path / "b") as client,
    ):
        a.figures = {"busy_s": 5.0}
        assert [await client.public_key("x") for _ in range(3)] == [b"second"] * 3
        a.figures = {"busy_s": 0.0}
        await asyncio.sleep(0.5)
        assert await client.public_key("x") == b"first"
    assert unfit({"closing": True})
    assert unfit({"busy_s": 0.1, "closing": False}) == ""


async def test_the_words_that_a_daemon_left_are_told(tmp_path):
    (tmp_path / "a.why").write_text(
        "pin_refused, 2026-01-01T00:00:00Z: the token refused the PIN\n"
    )
    async with SignerClient(tmp_path / "a", timeout_s=0.2) as client:
        with pytest.raises(SignerUnavailable, match="it ended: pin_refused"):
            await client.public_key("x")


async def test_a_client_that_is_closed_asks_nobody_any_more(tmp_path):
    async with door(tmp_path / "a", lambda _: None) as a:
        async with SignerClient(tmp_path / "a", timeout_s=5) as client:
            task = asyncio.create_task(client.public_key("x"))
            await asyncio.sleep(0.1)
        started = time.monotonic()
        with pytest.raises(SignerUnavailable, match="closed"):
            await task
        assert time.monotonic() - started < 0.5
        assert len(a.asked) == 1
