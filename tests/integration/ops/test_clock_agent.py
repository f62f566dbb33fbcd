"""The agent against a chronyd on the wire: what it leaves for everybody in each state of the daemon."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from ops.clock.agent import Agent, clock_file, seen
from ops.clock.ask import ask
from ops.clock.kernel import Kernel
from ops.clock.settings import ClockSettings
from ops.clock.watch import watch
from tenancy.clock_file import ClockFile, read_report
from tenancy.clock_quality import SECOND, Instants
from tenancy.errors import Unavailable
from tests.fakes.chronyd import Chronyd, Says

MS = 1_000_000
BOUND_NS = 500_000 + MS  # Says' dispersion and half its delay


class Host:
    """A host's clocks that a test moves; they also go on by themselves."""

    def __init__(self) -> None:
        self.stepped_ns = self.slept_ns = 0

    def instants(self) -> Instants:
        return Instants(
            boot="one", boottime_ns=time.monotonic_ns() + self.slept_ns,
            offset_ns=1_700_000_000 * SECOND + self.stepped_ns, uncertainty_ns=100,
        )  # fmt: skip


@pytest.fixture
async def chronyd() -> AsyncIterator[Chronyd]:
    daemon = await Chronyd().start()
    yield daemon
    daemon.stop()


@pytest.fixture
def host() -> Host:
    return Host()


def agent(host: Host, daemon: Chronyd, runtime: Path) -> Agent:
    settings = ClockSettings(error_max_ms=50, chrony_port=daemon.port)
    return Agent(
        settings, clock_file(runtime), instants=host.instants, kernel=lambda: Kernel(err_ns=None),
        tracking=lambda: ask("127.0.0.1", daemon.port, within_s=0.2),
    )  # fmt: skip


def reader(host: Host, runtime: Path) -> ClockFile:
    return ClockFile(clock_file(runtime), host.instants)


async def test_a_synchronised_daemons_bound_reaches_every_process(chronyd, host, tmp_path):
    await agent(host, chronyd, tmp_path).look(None)
    quality = reader(host, tmp_path).quality()
    assert (quality.state, quality.src) == ("ok", "chrony")
    assert BOUND_NS <= quality.err_ns < BOUND_NS + 200_000
    assert (await seen(reader(host, tmp_path))).startswith("ok: within 1.5")
    assert len(chronyd.asked[0]) == 104


@pytest.mark.parametrize("by_ns", [-SECOND, SECOND])
async def test_a_step_is_in_the_bound_before_and_after_the_agents_next_look(
    chronyd, host, tmp_path, by_ns
):
    """chronyd has not noticed; it never does, for a small one."""
    measuring = agent(host, chronyd, tmp_path)
    report = await measuring.look(None)
    file = reader(host, tmp_path)
    assert file.quality().state == "ok"
    host.stepped_ns = by_ns
    assert file.quality().err_ns >= SECOND + BOUND_NS
    report = await measuring.look(report)
    assert reader(host, tmp_path).quality().err_ns >= SECOND + BOUND_NS
    chronyd.says.ref_time_s += 64
    await measuring.look(report)
    assert reader(host, tmp_path).quality().state == "ok"


async def test_a_daemon_that_ends_is_held_over_and_found_again(chronyd, host, tmp_path):
    measuring = agent(host, chronyd, tmp_path)
    report = await measuring.look(None)
    chronyd.stop()
    await asyncio.sleep(0)
    host.slept_ns = 6 * SECOND
    report = await measuring.look(report)
    quality = reader(host, tmp_path).quality()
    assert (quality.state, quality.src) == ("degraded", "chrony")
    assert quality.err_ns > BOUND_NS + 3 * MS
    assert "nobody answers for chronyd" in quality.why
    await chronyd.start()
    await measuring.look(report)
    assert reader(host, tmp_path).quality().state == "ok"


async def test_a_daemon_that_is_silent_costs_a_moment_and_no_more(chronyd, host, tmp_path):
    chronyd.silent = True
    began = time.monotonic()
    await agent(host, chronyd, tmp_path).look(None)
    assert time.monotonic() - began < 2
    quality = reader(host, tmp_path).quality()
    assert (quality.state, quality.err_ns) == ("unknown", None)
    assert "does not answer" in quality.why


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (Says(leap=3, stratum=0, ref_id=0), "not synchronised"),
        (Says(ref_id=0x7F7F0101, stratum=10, root_delay_s=0, root_dispersion_s=0), "own clock"),
    ],
)
async def test_a_daemon_that_is_not_synchronised_leaves_no_bound(
    chronyd, host, tmp_path, says, why
):
    chronyd.says = says
    await agent(host, chronyd, tmp_path).look(None)
    quality = reader(host, tmp_path).quality()
    assert (quality.state, quality.err_ns) == ("unknown", None)
    assert why in quality.why


@pytest.mark.parametrize(
    ("says", "why"),
    [(Says(status=2), "refused"), (Says(version=7, status=18), "version 7")],
)
async def test_an_answer_that_is_none_is_named(chronyd, says, why):
    chronyd.says = says
    with pytest.raises(Unavailable, match=why):
        await ask("127.0.0.1", chronyd.port)


async def test_an_agent_that_ends_is_missed_after_five_seconds(chronyd, host, tmp_path):
    await agent(host, chronyd, tmp_path).look(None)
    file = reader(host, tmp_path)
    host.slept_ns = 4 * SECOND
    assert file.quality().state == "ok"
    host.slept_ns = 6 * SECOND
    assert file.quality().state == "unknown"
    assert "agent has been silent" in file.quality().why


async def test_a_jump_is_counted_and_told_by_each_process_itself(host, tmp_path):
    """No agent, no daemon: two clocks."""
    stop, told, heard = asyncio.Event(), list[int](), asyncio.Event()

    def hear(by_ns: int) -> None:
        told.append(by_ns)
        heard.set()

    def count() -> float:
        name, labels = "portcullis_clock_steps_total", {"direction": "back"}
        return REGISTRY.get_sample_value(name, labels) or 0.0

    before = count()
    watching = asyncio.create_task(
        watch(reader(host, tmp_path), stop, jumped=hear, instants=host.instants, every_s=0.01)
    )
    await asyncio.sleep(0.03)
    host.stepped_ns = -2 * SECOND
    async with asyncio.timeout(5):
        await heard.wait()
    stop.set()
    await watching
    assert told == [-2 * SECOND]
    assert count() == before + 1
    assert REGISTRY.get_sample_value("portcullis_clock_state", {"state": "unknown"}) == 1.0
    assert REGISTRY.get_sample_value("portcullis_clock_error_bound_seconds") == float("inf")


def test_a_killed_agent_leaves_a_whole_report(tmp_path):
    """SIGKILL again and again while it writes as fast as it can: never half a file."""
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from ops.clock.agent import Agent; from ops.clock.settings import ClockSettings\n"
        "agent = Agent(ClockSettings(error_max_ms=50, chrony_port=9), Path(sys.argv[1]))\n"
        "asyncio.run(agent.run(asyncio.Event(), every_s=0.0001))\n"
    )
    path = tmp_path / "clock.json"
    for _ in range(3):
        running = subprocess.Popen([sys.executable, "-c", script, str(path)])
        deadline = time.monotonic() + 20
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.05)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        assert read_report(path).v == 1
        path.unlink()
