"""`./appliance demo --json`: a newcomer's first command keeps every promise that it prints."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
HEARING = ["env", "--default-signal=INT,HUP,TERM"]
"""A shell's background job, and what nohup starts, would ignore the signals that are sent here."""


@pytest.mark.slow
def test_the_demo_loses_nothing_doubles_nothing_and_leaves_nothing_running(tmp_path: Path):
    var = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "ops.demo.run", "--json", "--var", str(var)],
        cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["accounts"] == 40
    assert result["signals"] == 22
    assert result["orders"] == result["fills"] > 700
    assert result["skipped"] > 0
    assert (result["lost"], result["duplicates"], result["audit"]) == (0, 0, "verified")
    assert set(result["latency_ms"]) == {
        "accept_p50", "accept_p99", "first_order_p50", "last_order_p50",
    }  # fmt: skip
    assert _processes_under(var) == []


@pytest.mark.slow
@pytest.mark.longer
def test_a_demo_that_stays_prints_a_line_that_the_hook_accepts(tmp_path: Path):
    """A directory with a space in its name, a signal typed as printed, its status link, then Ctrl-C."""
    var = tmp_path / "a place" / "demo"
    demo = subprocess.Popen(
        [*HEARING, sys.executable, "-u", "-m", "ops.demo.run", "--keep", "--var", str(var)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert demo.stdout is not None
    lines: list[str] = []
    try:
        for line in demo.stdout:
            lines.append(line.rstrip("\n"))
            if "SIGNAL_ID" in line:
                break
        assert demo.poll() is None, demo.communicate()[1]
        answer = json.loads(_shell(next(line for line in lines if line.startswith("body="))))
        assert answer["status"] == "accepted"
        assert answer["links"]["self"] in lines[-1].replace("SIGNAL_ID", answer["signalId"])
        status = _status(lines[-1].replace("SIGNAL_ID", answer["signalId"]))
        assert {"account_id", "state", "reason"} <= set(status["items"][0])
    finally:
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=60)
    assert (demo.returncode, errors) == (130, "ended; nothing of the demo is left running\n")
    assert _processes_under(var) == []


def _status(line: str) -> Any:
    """What the printed line shows, once the plan is made: 202 does not wait for that."""
    deadline = time.monotonic() + 20
    while not (status := json.loads(_shell(line)))["items"]:
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    return status


def _shell(line: str) -> str:
    done = subprocess.run(
        ["/bin/sh", "-c", line.replace("curl ", "curl -sS --fail-with-body ", 1)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_second_demo_says_so_and_touches_nothing(tmp_path: Path):
    """The first one holds `demo.lock`; what it runs must not be ended by a second."""
    var = tmp_path / "demo"
    var.mkdir()
    (var / "portcullis.toml").write_text("the first one's")
    with (tmp_path / "demo.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = subprocess.run(
            [sys.executable, "-m", "ops.demo.run", "--var", str(var)],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "another demo runs" in done.stderr
    assert (var / "portcullis.toml").read_text() == "the first one's"


@pytest.mark.longer
@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "ending"),
    [
        ("postgres.log", signal.SIGTERM),
        ("supervisor.log", signal.SIGINT),
        ("ingress-0.log", signal.SIGHUP),
    ],
)
def test_a_demo_that_is_ended_early_leaves_nothing_running(
    tmp_path: Path, moment: str, ending: signal.Signals
):
    """Ended while the installation is made, the supervisor is started, and the product comes up."""
    var = tmp_path / "demo"
    demo = subprocess.Popen(
        [*HEARING, sys.executable, "-m", "ops.demo.run", "--var", str(var)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (var / "log" / moment).exists():
        assert demo.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    demo.send_signal(ending)
    _, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert errors == "ended; nothing of the demo is left running\n"
    assert _processes_under(var) == []


def _processes_under(var: Path) -> list[str]:
    """Command lines of living processes that name the demo's directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(var) in line:
                found.append(line)
    return found
