"""The chaos run's own parts: a seed repeats it, every kind is killed, a sender never gives up."""

from __future__ import annotations

import asyncio
import json
from random import Random

import pytest

from fanout.signal import decode
from ops.chaos.killer import KINDS, plan_kills
from ops.chaos.load import Load, Notes, next_signal
from ops.chaos.run import clean
from ops.trial.sender import Sent
from tenancy.errors import Unavailable


def test_a_seed_gives_the_same_kills_and_each_kind_at_least_once():
    kills = plan_kills(Random(7), 30, 90.0)
    assert kills == plan_kills(Random(7), 30, 90.0)
    assert kills != plan_kills(Random(8), 30, 90.0)
    assert {kind for _, kind in kills} == set(KINDS)
    assert kills == sorted(kills)
    assert all(0 <= moment <= 90.0 for moment, _ in kills)


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


async def test_a_signal_that_is_never_answered_is_named_at_the_end(tmp_path):
    notes = Notes(tmp_path / "sent.jsonl")
    load = Load(Answers(*[503] * 1000), notes, Random(1))
    with pytest.raises(Unavailable, match="had no answer"):
        await load.finish(0.2)
    await load.drop()
    notes.close()


@pytest.mark.parametrize(
    "wrong", [{"lost": 1}, {"doubled": 1}, {"unexplained": 1}, {"log": "tampered"}]
)
def test_only_nothing_at_all_is_clean(wrong):
    good = {"lost": 0, "doubled": 0, "unexplained": 0, "log": "unbroken"}
    assert clean(good)
    assert not clean(good | wrong)
