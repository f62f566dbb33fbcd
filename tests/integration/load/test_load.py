"""The load test as a person calls it: what was sent, kept, traded and told agrees; nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

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


async def told(
    out: Path, *words: str, statuses: Collection[int] = (0,), **changed: object
) -> dict[str, Any]:
    """The report of a run that ended well, or with one of these statuses."""
    asked = {**ASKED, **{f"--{name}": value for name, value in changed.items()}}
    options = [str(word) for pair in asked.items() for word in pair]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.load", *words, *options, *SLOW_BROKER, "--json", "--out", str(out),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    printed, complaints = await process.communicate()
    assert process.returncode in statuses, complaints.decode()
    report: dict[str, Any] = json.loads(printed)
    return report


async def test_a_small_load_is_sent_traded_audited_and_told(tmp_path: Path) -> None:
    report = await told(tmp_path / "out")

    verdict = report["verdict"]
    assert (verdict["lost"], verdict["doubled"], verdict["unexplained"]) == (0, 0, 0)
    assert (verdict["log"], verdict["findings"]) == ("unbroken", [])
    assert verdict["acknowledged"] > 0
    assert verdict["signals"] == verdict["acknowledged"] + WARMED
    assert verdict["orders"] == verdict["signals"] * FOLLOWERS

    (step,) = report["steps"]
    assert (step["senders"], step["asked_per_s"], step["failed"], step["broke"]) == (2, 4, 0, "")
    assert step["accepted_per_s"] > 0
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
    # Locust forgets what is answered while it stops; senders' notes do not.
    assert 0 < counted["webhook"]["count"] <= verdict["acknowledged"]
    assert counted["event"]["count"] > 0, "the console was told"
    assert any(name.startswith("GET /v1/") for name in counted)
    assert all(one["failed"] == 0 for one in counted.values())
    _written(tmp_path / "out", report)


@pytest.mark.longer
async def test_a_loud_neighbour_is_told_apart_and_loses_nothing_either(tmp_path: Path) -> None:
    report = await told(tmp_path, "neighbour", factor=8, quiet=3, loud=4, after=3)
    verdict = report["verdict"]
    assert (verdict["lost"], verdict["doubled"], verdict["unexplained"]) == (0, 0, 0)
    parts = {(one["who"], one["when"]): one for one in report["scene"]["parts"]}
    for when in ("before", "meanwhile", "afterwards"):
        assert parts["others", when]["accepted"] > 0
        assert parts["loud tenants, steady", when]["accepted"] > 0
    assert parts["loud senders", "meanwhile"]["accepted"] > parts["others", "meanwhile"]["accepted"]
    assert (
        sum(one["accepted"] for (who, _), one in parts.items() if "programs" not in who)
        == (verdict["acknowledged"])
    )
    assert "A loud neighbour" in (tmp_path / "report.html").read_text()


@pytest.mark.longer
async def test_a_soak_measures_one_rate_in_windows_and_looks_for_growth(tmp_path: Path) -> None:
    """Too short to say what grows: caches still fill. What it looked at is there."""
    report = await told(tmp_path, "soak", statuses=(0, 1), settle=1, minutes=0.6)
    verdict = report["verdict"]
    assert (verdict["lost"], verdict["doubled"], verdict["unexplained"]) == (0, 0, 0)
    assert [step["asked_per_s"] for step in report["steps"]] == [4] * 12
    seen = {(one["group"], one["count"]): one["last"] for one in report["growths"]}
    for group in ("worker", "ingress", "signer", "recorder", "postgres", "redis"):
        for count in ("MB of its own", "open files", "threads"):
            assert seen[group, count] > 0
    assert "A soak:" in (tmp_path / "report.html").read_text()


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
