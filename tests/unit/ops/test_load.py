"""What `./appliance load` makes of a run: what may be asked, the figures of a step, cost by process, the page."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from loadtest.swarm.course import Step
from loadtest.swarm.knee import Seen
from loadtest.swarm.run import Sent
from ops.load.__main__ import main
from ops.load.figures import Evidence, Spread, StepFigures, at_the_knee, step_figures
from ops.load.floors import Floors
from ops.load.generators import Swarm
from ops.load.page import page
from ops.load.picture import draw
from ops.load.report import Knee, Report, Requests, knee, read_requests, verdict
from ops.load.settings import Delay, Settings, fault_rules
from ops.load.usage import Sample, Usage, cpu_between, groups, most
from ops.state import Process, State
from tenancy.errors import Unavailable

FLOORS = Floors(
    bare_per_s=1000, bare_p50_ms=5, bare_p99_ms=9, orders_per_s=4000, orders_cpu_s=0.2
)  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"tenants": 0}, "tenants: 1 or more"),
        ({"streams": -1}, "streams: 0 or more"),
        ({"pace_per_s": 0}, "pace_per_s: more than 0"),
        ({"most_per_s": 100}, "2 to 64 can be sent by 32 strategies at 2/s each"),
        ({"start_per_s": 65}, "2 to 64 can be sent"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_what_can(asked: dict[str, float], words: str):
    with pytest.raises(ValueError, match=words):
        Settings(**asked)  # type: ignore[arg-type]


def test_rates_become_senders_upwards():
    settings = Settings(tenants=2, strategies=5, pace_per_s=0.3, start_per_s=0.3, most_per_s=1)
    assert (settings.start, settings.most) == (1, 4)
    assert Settings(tenants=2, strategies=5, start_per_s=2).most == 10


def test_a_bad_wish_ends_with_status_2_and_starts_nothing(capsys: pytest.CaptureFixture[str]):
    assert main(["--broker-delay", "20:2"]) == 2
    assert main(["--measure", "0"]) == 2
    said = capsys.readouterr().err
    assert "load: --broker-delay 20:2: milliseconds" in said
    assert "load: measure_s: more than 0" in said


@pytest.mark.parametrize(
    ("text", "delay"), [("20", Delay(20)), ("400:0.01", Delay(400, 0.01)), ("0", Delay(0))]
)
def test_delays_are_read(text: str, delay: Delay):
    assert Delay.read(text) == delay


@pytest.mark.parametrize("text", ["", "x", "-1", "20:0", "20:1.5", "20:x", "nan"])
def test_delays_that_cannot_be_are_refused(text: str):
    with pytest.raises(ValueError, match="as in 400:"):
        Delay.read(text)


def test_each_delay_hits_its_part_of_all_orders():
    """The exchange asks rule after rule: the second sees what the first left."""
    rules = fault_rules((Delay(20), Delay(400, 0.25), Delay(90, 0.3)))
    left, parts = 1.0, []
    for rule in rules:
        parts.append((rule["seconds"], pytest.approx(left * rule["probability"])))
        left *= 1 - rule["probability"]
    assert parts == [(0.4, 0.25), (0.09, 0.3), (0.02, 0.45)]
    assert left == 0


def test_without_a_delay_there_is_no_rule():
    assert fault_rules((Delay(0),)) == []


def sent(signal: str | None, at: float, took_s: float = 0.01) -> Sent:
    return Sent(
        message_id=f"m{at}", body="{}", status=202 if signal else 503, signal_id=signal,
        hook_id="h", intended_at=at, sent_at=at, took_s=took_s,
    )  # fmt: skip


def step(began: float = 100.0, ended: float = 110.0, senders: int = 5, broke: str = "") -> Step:
    seen = Seen(seconds=ended - began, sent=3, failed=1, p99_ms=50, owed=40, executed=38)
    return Step(senders=senders, began_s=began, ended_s=ended, seen=seen, broke=broke)


def sample(at: float, **cpu: float) -> Sample:
    return Sample(at, cpu, {name: int(at) * 1_000_000 for name in cpu})


def figures(
    one: Step, notes: Sequence[Sent], arrivals: dict[str, list[float]], *samples: Sample
) -> StepFigures:
    return step_figures(one, Evidence(sent=notes, arrivals=arrivals, samples=samples), 2.0)


def test_a_step_is_of_the_signals_that_were_meant_to_leave_in_it():
    notes = [
        sent("a", 99.9),
        sent("b", 100.0, 0.02),
        sent(None, 105, 0.5),
        sent("c", 109.9, 0.1),
        sent("d", 110),
    ]
    arrivals = {
        "a": [99.95, 100.05], "b": [100.03, 100.06], "c": [109.95, 111.0], "d": [110.1],
    }  # fmt: skip
    made = figures(step(), notes, arrivals)
    assert (made.asked_per_s, made.accepted_per_s, made.failed) == (10, 0.2, 1)
    assert made.answer == Spread(pytest.approx(100), pytest.approx(500))
    assert made.first_order == Spread(pytest.approx(30), pytest.approx(50))
    assert made.last_order == Spread(pytest.approx(60), pytest.approx(1100))
    assert made.skew == Spread(pytest.approx(30), pytest.approx(1050))
    assert made.orders_per_s == 0.4, "those that arrived within it, whosever they are"
    assert made.lag_s == 0.5


def test_what_was_not_traded_has_no_times():
    made = figures(step(), [sent(None, 101)], {})
    assert (made.first_order, made.skew, made.cpu_s_per_1000_orders) == (None, None, {})
    assert made.answer is not None


def test_cost_is_what_the_product_spent_on_each_thousand_orders():
    samples = [
        sample(99, worker=1.0, exchange=9.0, locust=0.0),
        sample(105, worker=7.0, exchange=15.0, locust=0.0),
        sample(111, worker=7.0, exchange=15.0, locust=6.0),
    ]
    made = figures(step(), [], {"x": [100.0 + n / 100 for n in range(500)]}, *samples)
    assert made.cpu_cores == {"worker": 0.5, "exchange": 0.5, "locust": 0.5}
    assert made.cpu_s_per_1000_orders["worker"] == 10
    assert made.product_cpu_s_per_1000_orders == 10, (
        "neither the exchange nor the swarm is part of it"
    )
    assert made.memory_mb == {"worker": 105, "exchange": 105, "locust": 105}


def test_cpu_between_two_looks_is_drawn_straight():
    samples = [sample(0, worker=0.0), sample(10, worker=5.0), sample(20, worker=5.0, late=4.0)]
    assert cpu_between(samples, 5, 15) == {"worker": 2.5, "late": 2.0}
    assert cpu_between(samples, 30, 40) == {}
    assert most([one.memory for one in samples]) == {"late": 20_000_000, "worker": 20_000_000}


def test_looks_see_a_process_with_what_it_started_and_forget_nothing_when_it_ends():
    child = "x = bytearray(30_000_000); print(1, flush=True); input()"
    busy = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        usage = Usage({"tree": [process.pid]}, {"one": process.pid, "us": os.getpid()})
        usage.look()
        process.communicate(b"\n")
    usage.look()
    first, last = usage.samples
    assert first.memory["tree"] > first.memory["one"] + 25_000_000
    assert last.memory["tree"] == 0
    assert last.cpu_s["tree"] >= first.cpu_s["tree"] > 0
    assert last.cpu_s["us"] > 0


def test_processes_of_one_kind_are_one_group():
    one = Process(7, 1)
    names = ["postgres", "worker-0", "worker-1", "signer-0"]
    state = State(
        supervisor=one, settings=Path("/x"), ready=True, urls={}, health={},
        processes={name: Process(number, 1) for number, name in enumerate(names)},
    )  # fmt: skip
    assert groups(state) == {"postgres": [0], "worker": [1, 2], "signer": [3]}


def test_the_knee_is_read_from_its_last_step_that_held():
    steps = [
        figures(step(senders=4), [sent("a", 101)], {}),
        figures(step(senders=8, broke="p99"), [], {}),
        figures(step(senders=4), [], {"a": [101.0] * 20}, sample(100, worker=0.0), sample(110, worker=1.0)),
    ]  # fmt: skip
    assert at_the_knee(steps, 4) is steps[2]
    assert at_the_knee(steps, 8) is None
    found = knee(at_the_knee(steps, 4), FLOORS, found=True)
    assert found == Knee(
        signals_per_s=8, orders_per_s=2, found=True, of_bare_202=0.008, of_plain_orders=0.0005,
        cost_in_floors=250,
    )  # fmt: skip
    assert knee(None, FLOORS, found=True).signals_per_s == 0


OPINION = {
    "signals": 3, "orders": 9, "lost": 0, "doubled": 0, "unexplained": 0, "log": "unbroken",
    "findings": [],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "well"),
    [
        ({}, True),
        ({"lost": 1}, False),
        ({"doubled": 1}, False),
        ({"unexplained": 1}, False),
        ({"log": "leaf 3 is missing"}, False),
    ],
)
def test_any_finding_of_the_auditor_is_a_failure(changed: dict[str, object], well: bool):
    told = verdict([sent("a", 1), sent("a", 2), sent(None, 3)], {**OPINION, **changed})
    assert told.exactly_once is well
    assert told.acknowledged == 1, "a repeat is no second signal"


def test_locusts_own_counts_are_read_without_their_sum(tmp_path: Path):
    (tmp_path / "stats.csv").write_text(
        "Type,Name,Request Count,Failure Count,50%,99%\n"
        "POST,webhook,7,1,5,20\nGET,never,0,0,N/A,N/A\n,Aggregated,7,1,5,20\n"
    )
    assert read_requests(tmp_path / "stats.csv") == [
        Requests(name="webhook", count=7, failed=1, p50_ms=5, p99_ms=20),
        Requests(name="never", count=0, failed=0, p50_ms=None, p99_ms=None),
    ]


def report(steps: list[StepFigures], **opinion: object) -> Report:
    return Report(
        command="./appliance load --most 4", conditions="two cores", cores=2, settings=Settings(),
        floors=FLOORS, knee=knee(at_the_knee(steps, 4), FLOORS, found=True), scene=None,
        verdict=verdict([], {**OPINION, **opinion}), growths=[], steps=steps,
        requests=[Requests(name="webhook", count=0, failed=0, p50_ms=None, p99_ms=None)],
        samples=[sample(100, worker=0.0), sample(110, worker=1.0)],
    )  # fmt: skip


def test_the_page_stands_alone_and_says_what_was_found():
    busy = sample(100, worker=0.0), sample(110, worker=1.0)
    steps = [
        figures(step(senders=4), [sent("a", 101)], {"a": [101.1, 101.2]}, *busy),
        figures(step(senders=8, broke="p99 <120> ms"), [], {}),
    ]  # fmt: skip
    made = report(steps, lost=1, findings=["lost: <script>"])
    picture = draw(made.steps, made.samples, 100)
    text = page(made, picture)
    assert picture.startswith("<svg")
    assert picture in text
    for words in (
        "Not everything that was accepted",
        "lost: &lt;script&gt;",
        "p99 &lt;120&gt; ms",
        "8 signals/s",
    ):
        assert words in text
    assert "://" not in text.replace(picture, ""), "nothing is fetched"


def test_a_run_that_measured_nothing_has_a_page_too():
    made = report([])
    text = page(made, draw([], made.samples, 100))
    assert "none, the lowest rate broke an objective" in text
    assert "carried out exactly once" in text


Children = dict[str, asyncio.subprocess.Process]


async def started(**programs: str) -> Children:
    """Programs in place of Locust's; each has said something, so it is as it will be."""
    children: Children = {}
    for name, program in programs.items():
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert child.stdout is not None
        await child.stdout.readline()
        children[name] = child
    return children


SAYS = "print(1, flush=True); "
LOG = Path("locust.log")


async def test_a_generator_that_dies_ends_the_run_at_once():
    """The master would wait for it for ever."""
    children = await started(master=f"{SAYS}input()", generator=f"{SAYS}raise SystemExit(3)")
    with pytest.raises(
        Unavailable, match=r"Locust's generator ended with status 3; see locust\.log"
    ):
        await Swarm(children, LOG).wait()
    await Swarm(children, LOG).end()
    assert children["master"].returncode == -signal.SIGTERM


async def test_a_run_is_over_when_all_processes_are():
    children = await started(master=SAYS, generator=SAYS)
    await Swarm(children, LOG).wait()
    assert [child.returncode for child in children.values()] == [0, 0]


async def test_what_does_not_end_when_it_is_asked_to_is_made_to():
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SAYS}input()"
    children = await started(master=deaf)
    await Swarm(children, LOG).end(within_s=0.2)
    assert children["master"].returncode == -signal.SIGKILL
