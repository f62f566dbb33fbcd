"""The chaos run's own parts: a seed repeats it, every kind is asked, a line breaks as said, a sender never
gives up, and docs/operating/faults.md is the table."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from fanout.signal import decode
from ops.chaos.cable import Cable
from ops.chaos.kinds import KINDS, NAMED, plan
from ops.chaos.load import Load, Notes, next_signal
from ops.chaos.run import clean
from ops.chaos.storm import Storm
from ops.trial.sender import Sent
from tenancy.errors import Unavailable

ROOT = Path(__file__).parents[3]


def test_a_seed_gives_the_same_faults_and_each_kind_at_least_once():
    faults = plan(Random(7), 100, 90.0)
    assert faults == plan(Random(7), 100, 90.0)
    assert faults != plan(Random(8), 100, 90.0)
    assert {due.kind.name for due in faults} == set(NAMED)
    assert len(faults) == 100
    assert len({due.number for due in faults}) == 100
    moments = [due.moment for due in faults]
    assert moments == sorted(moments)
    assert all(0 <= moment <= 90.0 for moment in moments)


def test_what_cannot_be_had_here_is_not_asked_for():
    there = tuple(kind for kind in KINDS if kind.needs is None)
    asked = {due.kind.name for due in plan(Random(7), 200, 90.0, there)}
    assert asked == {kind.name for kind in there}
    assert asked < set(NAMED)


def test_the_page_is_the_table():
    page = (ROOT / "docs/operating/faults.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    assert lines == [f"| `{kind.name}` | {kind.does} | {kind.seen} |" for kind in KINDS]


def test_every_kind_of_the_table_can_be_carried_out():
    assert {kind.what for kind in KINDS} == set(Storm(_Nowhere(), print)._acts)  # type: ignore[arg-type]


class _Nowhere:
    """Ground that nothing happens on: only asked where its PostgreSQL would be."""

    class here:
        class places:
            log = var = runtime = Path("/nonexistent")


def test_every_signal_that_the_load_sends_is_in_the_signal_language():
    random = Random(1)
    actions = {decode(json.dumps(next_signal(random)).encode()).action for _ in range(200)}
    assert actions == {"buy", "sell", "exit", "cancel"}


class Answers:
    """A sender who is answered with these statuses, then with 202."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.sent: list[tuple[str, str]] = []

    async def send(self, message_id, **fields) -> Sent:
        body = json.dumps(fields)
        self.sent.append((message_id, body))
        status = self.statuses.pop(0) if self.statuses else 202
        return Sent(
            message_id=message_id, fields=fields, body=body, status=status,
            signal_id="s1" if status == 202 else None, answer="", sent_at=0.0, took_s=0.0,
        )  # fmt: skip


async def test_what_has_no_clear_answer_is_sent_again_as_it_was(tmp_path):
    answers, notes = Answers(0, 503, 429, 408), Notes(tmp_path / "sent.jsonl")
    load = Load(answers, notes, Random(1))
    await load._until_accepted("msg_1", {"ticker": "BTC_USDT", "action": "exit"}, 2)
    notes.close()
    assert len(answers.sent) == 6
    assert len(set(answers.sent)) == 1
    lines = [json.loads(line) for line in notes.path.read_text().splitlines()]
    assert [line["status"] for line in lines] == [0, 503, 429, 408, 202, 202]
    assert lines[-1]["signalId"] == "s1"


async def test_a_refusal_for_good_ends_the_run_with_its_words(tmp_path):
    notes = Notes(tmp_path / "sent.jsonl")
    load = Load(Answers(422), notes, Random(1))
    with pytest.raises(Unavailable, match="msg_1 was refused for good: 422"):
        await load._until_accepted("msg_1", {"action": "buy"}, 1)
    load = Load(Answers(422), notes, Random(1))
    load._begin({"action": "buy"})
    await asyncio.sleep(0.01)
    with pytest.raises(Unavailable, match="refused for good: 422"):
        await load.finish(1.0)
    notes.close()


async def test_a_signature_that_fits_no_more_is_a_refusal_for_good(tmp_path):
    notes = Notes(tmp_path / "sent.jsonl")
    load = Load(Answers(401, 202, 401), notes, Random(1))  # the first one: the hook is new
    with pytest.raises(Unavailable, match="refused for good: 401"):
        await load._until_accepted("msg_1", {"action": "exit"}, 2)
    notes.close()


async def test_a_signal_that_is_never_answered_is_named_at_the_end(tmp_path):
    notes = Notes(tmp_path / "sent.jsonl")
    load = Load(Answers(*[503] * 1000), notes, Random(1))
    with pytest.raises(Unavailable, match="had no answer"):
        await load.finish(0.2)
    await load.drop()
    notes.close()


@pytest.mark.parametrize(
    "wrong", [{"lost": 1}, {"doubled": 1}, {"unexplained": 1}, {"log": "tampered"}, {"seen": 4}]
)
def test_only_nothing_at_all_is_clean(wrong):
    good = {"lost": 0, "doubled": 0, "unexplained": 0, "log": "unbroken", "faults": 5, "seen": 5}
    assert clean(good)
    assert not clean(good | wrong)


async def test_a_line_passes_everything_and_is_cut_dead_or_late_as_told():
    async with lined() as (cable, reader, writer):
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        stalled = asyncio.create_task(cable.stall(0.2))
        await asyncio.sleep(0)
        writer.write(b"late")
        assert await reader.readexactly(4) == b"late"
        assert await stalled == 4
        dead = asyncio.create_task(cable.half_open(0.2))
        await asyncio.sleep(0)
        writer.write(b"lost")
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        assert await dead == 4
    async with lined() as (cable, reader, writer):
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        assert cable.cut() == 1
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)


@asynccontextmanager
async def lined():
    """Somebody who says everything again, at the other end of a line."""

    async def echo(reader, writer):
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    far = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = far.sockets[0].getsockname()[1]
    cable = Cable(lambda: asyncio.open_connection("127.0.0.1", port))
    reader, writer = await asyncio.open_connection("127.0.0.1", await cable.listen_tcp())
    try:
        yield cable, reader, writer
    finally:
        writer.close()
        await cable.close()
        far.close()
