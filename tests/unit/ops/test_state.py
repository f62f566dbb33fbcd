"""A pid is not a name: a signal reaches the process that was meant, or nobody."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ops.state import Process, State, end, identify, is_alive, read_state, write_state


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_the_recorded_process_is_ended(sleeper: subprocess.Popen[bytes]) -> None:
    process = identify(sleeper.pid)
    assert process is not None
    assert end(process, signal.SIGTERM, 5)
    assert sleeper.wait(5) == -signal.SIGTERM


def test_a_pid_that_changed_hands_is_not_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    process = identify(sleeper.pid)
    assert process is not None
    former = msgspec.structs.replace(process, start_ticks=process.start_ticks - 1)
    assert end(former, signal.SIGKILL, 5)
    assert sleeper.poll() is None
    assert not is_alive(former)


def test_a_corpse_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identify(child.pid) is None
    child.wait()


def test_who_does_not_end_in_time_is_said_so() -> None:
    stubborn = subprocess.Popen(
        ["sh", "-c", "trap '' TERM; echo ready; exec sleep 60"], stdout=subprocess.PIPE
    )
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    process = identify(stubborn.pid)
    assert process is not None
    assert not end(process, signal.SIGTERM, 0.2)
    stubborn.kill()
    stubborn.wait()
    stubborn.stdout.close()


def test_a_state_whose_supervisor_is_gone_is_no_state(tmp_path: Path) -> None:
    me = identify(os.getpid())
    assert me is not None
    state = State(
        supervisor=me,
        settings=tmp_path / "portcullis.toml",
        ready=True,
        urls={"ingress": "https://localhost:1"},
        processes={"redis": Process(1, 2)},
        health={},
    )
    write_state(tmp_path / "state.json", state)
    assert read_state(tmp_path / "state.json") == state
    gone = msgspec.structs.replace(state, supervisor=Process(me.pid, me.start_ticks - 1))
    write_state(tmp_path / "state.json", gone)
    assert read_state(tmp_path / "state.json") is None
