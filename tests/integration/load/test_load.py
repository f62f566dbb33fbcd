"""The load test as a person calls it: what was sent, kept, traded and told agrees; nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from ops.processes import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.slow]

ASKED = {
    "--tenants": 2, "--strategies": 1, "--followers": 2, "--pace": 2, "--start": 4, "--most": 4,
    "--tries": 1, "--p99": 60_000, "--lag": 1000, "--settle": 2, "--measure": 3, "--rest": 1,
    "--api-users": 1, "--api-pace": 4, "--streams": 1, "--generators": 2,
}  # fmt: skip
SLOW_BROKER = "--broker-delay", "5", "--broker-delay", "50:0.2"
FOLLOWERS, WARMED = 2, 4


async def test_a_small_load_is_sent_traded_audited_and_told(tmp_path: Path) -> None:
    words = [str(word) for pair in ASKED.items() for word in pair]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.load", *words, *SLOW_BROKER, "--json", "--out", str(tmp_path / "out"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    report = json.loads(out)

    verdict = report["verdict"]
    assert (verdict["lost"], verdict["doubled"], verdict["unexplained"]) == (0, 0, 0)
    assert (verdict["log"], verdict["findings"]) == ("unbroken", [])
    # Two seconds and three at four a second, and what was meant to leave until Locust had ended.
    assert verdict["acknowledged"] >= 16
    assert verdict["signals"] == verdict["acknowledged"] + WARMED
    assert verdict["orders"] == verdict["signals"] * FOLLOWERS

    (step,) = report["steps"]
    assert (step["senders"], step["asked_per_s"], step["failed"], step["broke"]) == (2, 4, 0, "")
    assert step["accepted_per_s"] == pytest.approx(4, abs=1)
    assert 0 < step["answer"]["p50_ms"] <= step["answer"]["p99_ms"]
    assert step["first_order"]["p50_ms"] <= step["last_order"]["p50_ms"]
    assert report["knee"]["signals_per_s"] == 4
    assert report["knee"]["found"] is False
    assert min(report["floors"].values()) > 0

    kinds = {"worker", "ingress", "signer", "recorder", "admin", "postgres", "redis"}
    assert kinds | {"exchange", "locust", "supervisor"} <= step["memory_mb"].keys()
    assert all(step["memory_mb"][kind] > 1 for kind in kinds)
    assert sum(step["cpu_cores"].values()) > 0

    counted = {one["name"]: one for one in report["requests"]}
    assert counted["webhook"]["count"] == verdict["acknowledged"]
    assert counted["event"]["count"] > 0, "the console was told"
    assert any(name.startswith("GET /v1/") for name in counted)
    assert all(one["failed"] == 0 for one in counted.values())
    _written(tmp_path / "out", report)


def _written(out: Path, report: dict[str, object]) -> None:
    assert json.loads((out / "report.json").read_bytes()) == report
    assert "carried out exactly once" in (out / "report.html").read_text()
    assert (out / "report.svg").read_text().startswith("<svg")
    assert "webhook" in (out / "locust_stats.csv").read_text()
    assert "<html" in (out / "locust.html").read_text()
    secrets = [
        file
        for file in out.iterdir()
        if b"whsec_" in file.read_bytes() or b"pck_" in file.read_bytes()
    ]
    assert secrets == []
