"""What a sender of the swarm does: when, with which words, signed by whom; what its processes tell each other."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest
from standardwebhooks import Webhook

from loadtest.audit.read import _noted
from loadtest.swarm import run as swarm
from loadtest.swarm.arrivals import Arrivals
from loadtest.swarm.course import Step, Timing
from loadtest.swarm.knee import Objectives, Seen
from loadtest.swarm.sse import Event, Reader
from loadtest.swarm.strategy import Message, Strategy

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def test_arrivals_keep_their_rate_whenever_they_are_served():
    """One that is served late does not move the next: waiting is not hidden."""
    arrivals = Arrivals(100.0, per_s=2, chance=0.5)
    assert arrivals.next_s == 100.25
    assert arrivals.wait_s(100.0) == 0.25
    assert arrivals.take() == 100.25
    assert arrivals.take() == 100.75
    assert arrivals.wait_s(105.0) == 0
    assert arrivals.take() == 101.25


def test_after_an_hour_the_rate_is_still_exact():
    arrivals = Arrivals(0.0, per_s=3, chance=0)
    for _ in range(3 * 3600):
        arrivals.take()
    assert arrivals.next_s == 3600


@pytest.mark.parametrize(
    ("asked", "words"), [((0, 0.5), "per_s: more than 0"), ((1, 1.5), "chance: 0 to 1")]
)
def test_a_rate_that_cannot_be_is_refused(asked: tuple[float, float], words: str):
    per_s, chance = asked
    with pytest.raises(ValueError, match=words):
        Arrivals(0, per_s=per_s, chance=chance)


def actions(strategy: Strategy, statuses: list[int]) -> list[tuple[str, str]]:
    """(id, action) of what is sent while the answers are these."""
    sent = []
    for number, status in enumerate(statuses):
        message = strategy.next(f"m{number}")
        sent.append((message.message_id, json.loads(message.body)["action"]))
        strategy.answered(message, status)
    return sent


def test_a_strategy_buys_and_exits_in_turn():
    assert actions(Strategy("h", SECRET), [202] * 4) == [
        ("m0", "buy"), ("m1", "exit"), ("m2", "buy"), ("m3", "exit"),
    ]  # fmt: skip


@pytest.mark.parametrize("status", [0, 408, 429, 500, 503])
def test_what_has_no_clear_answer_is_sent_again_as_it_was(status: int):
    assert actions(Strategy("h", SECRET), [status, status, 202, 202]) == [
        ("m0", "buy"), ("m0", "buy"), ("m0", "buy"), ("m3", "exit"),
    ]  # fmt: skip


@pytest.mark.parametrize("status", [400, 401, 409, 413, 422])
def test_what_was_refused_is_not_sent_again(status: int):
    assert [one for one, _ in actions(Strategy("h", SECRET), [status, 202])] == ["m0", "m1"]


def test_a_signal_is_signed_as_the_official_library_asks():
    strategy = Strategy("h", SECRET)
    message = Message("msg_1", '{"a":1}')
    headers = strategy.headers(message, time.time())
    assert Webhook(SECRET).verify(message.body, headers) == {"a": 1}
    assert headers["content-type"] == "application/json"


def test_no_secret_shows():
    hook = swarm.Hook("h", SECRET)
    run = the_run(Path("/x"), hooks=(hook,))
    for shown in (repr(hook), repr(run), repr(Strategy("h", SECRET))):
        assert "C2FVs" not in shown
        assert "pck_" not in shown


def the_run(directory: Path, **changed: object) -> swarm.Run:
    usual = {
        "directory": directory, "ingress": "https://localhost:1", "admin": "https://localhost:2",
        "authority": directory / "ca.pem", "exchange": "http://localhost:3", "hooks": (),
        "service_keys": ("pck_x",), "followers": 3, "pace_per_s": 2.0, "api_users": 1,
        "api_pace_per_s": 1.0, "streams": 1, "generators": 2,
        "search": swarm.Range(start=1, most=4), "objectives": Objectives(), "timing": Timing(),
    }  # fmt: skip
    return swarm.Run(**{**usual, **changed})  # type: ignore[arg-type]


def test_a_generator_reads_the_run_that_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = the_run(tmp_path, hooks=(swarm.Hook("h", SECRET),), timing=Timing(measure_s=7))
    (tmp_path / "run.json").write_bytes(swarm.encode_run(run))
    monkeypatch.setenv(swarm.RUN, str(tmp_path / "run.json"))
    assert swarm.the_run() == run


def sent(**changed: object) -> swarm.Sent:
    usual = {
        "message_id": "m", "body": "{}", "status": 202, "signal_id": "s", "hook_id": "h",
        "intended_at": 10.0, "sent_at": 10.5, "took_s": 1.0,
    }  # fmt: skip
    return swarm.Sent(**{**usual, **changed})  # type: ignore[arg-type]


def test_what_all_processes_noted_is_read_together_and_by_the_auditor(tmp_path: Path):
    late, early = sent(intended_at=20.0), sent(status=0, signal_id=None, intended_at=9.0)
    for number, one in enumerate((late, early)):
        (tmp_path / f"sent-{number}.jsonl").write_bytes(msgspec.json.encode(one) + b"\n")
    assert swarm.read_sent(tmp_path) == [early, late]
    notes = _noted(swarm.gathered(tmp_path))
    assert sorted((one.message_id, one.status, one.signal_id or "") for one in notes) == [
        ("m", 0, ""), ("m", 202, "s"),
    ]  # fmt: skip
    assert swarm.read_sent(tmp_path) == [early, late], "what was gathered is no process' own"


def test_steps_are_replaced_at_once(tmp_path: Path):
    seen = Seen(seconds=1, sent=1, failed=0, p99_ms=1, owed=1, executed=1)
    step = Step(senders=1, began_s=1, ended_s=2, seen=seen, broke="")
    for good in (1, 2):
        swarm.write_steps(tmp_path, swarm.Steps(steps=(step,) * good, good=good, found=False))
    assert swarm.read_steps(tmp_path) == swarm.Steps(steps=(step, step), good=2, found=False)
    assert [file.name for file in tmp_path.iterdir()] == ["steps.json"]


def read(text: str) -> tuple[list[Event], Reader]:
    reader = Reader()
    return [one for line in text.split("\n") if (one := reader.line(line))], reader


def test_events_are_read_as_a_browser_reads_them():
    events, reader = read(
        "retry: 2000\n\nid: 7\nevent: order.new\ndata: {}\n\n: alive\nid: 9\n\ndata:a\ndata: b\n\ndata: cut"
    )
    assert events == [Event("order.new", "{}", "7"), Event("message", "a\nb", "9")]
    assert reader.last_id == "9", "a comment's number is where to come back to"
