"""`portcullis clock` says how right the clock is, with nothing running; its status says whether that is well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from ops.cli.main import cli
from ops.clock.agent import clock_file
from ops.initialise import Choices, document
from ops.paths import Places
from ops.toml import dumps
from tenancy.clock_file import read_instants, write_report
from tenancy.clock_quality import Report, Tracking

SAID = Tracking(
    ref_id="C0000201", stratum=2, ref_time_ns=1, offset_ns=-3_000, root_delay_ns=2_000_000,
    root_dispersion_ns=500_000, frequency_ppb=-3500, skew_ppb=20, leap="normal",
)  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    places = Places(tmp_path, tmp_path)
    places.settings.write_text(dumps(document(places, Choices())))
    places.settings.chmod(0o600)
    return places.settings


def measured(settings: Path, **changed: Any) -> None:
    now = read_instants()
    report = Report(
        boot=now.boot, written_ns=now.boottime_ns, offset_ns=now.offset_ns, uncertainty_ns=100,
        src="chrony", measured_ns=now.boottime_ns, err_ns=1_503_000, error_max_ns=50_000_000,
        tracking=SAID,
    )  # fmt: skip
    write_report(clock_file(settings.parent), msgspec.structs.replace(report, **changed))


def said(settings: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["--settings", str(settings), "clock", *words])
    return done.exit_code, done.output


def test_a_clock_that_is_well_is_told_with_its_figures_and_the_tiers_that_it_meets(settings):
    measured(settings)
    status, text = said(settings)
    assert status == 0
    assert text.startswith("ok: within 1.5")
    cells = [line.strip("│").split("│") for line in text.splitlines() if line.startswith("│")]
    rows = {what.strip(): how.strip() for what, how in cells}
    assert rows["finra_50ms"] == "met"
    assert rows["mifid_1ms"] == rows["mifid_100us"] == "not met"
    assert rows["source"] == "C0000201, stratum 2"


def test_without_an_agent_nothing_is_known_and_the_status_is_1(settings):
    status, text = said(settings)
    assert status == 1
    assert "the clock agent has not run" in text


def test_programs_read_json(settings):
    measured(settings, err_ns=None, why="chronyd is not synchronised")
    status, text = said(settings, "--json")
    told = json.loads(text)
    assert status == 1
    assert told["quality"] == {
        "state": "unknown", "src": "chrony", "err_ns": None, "why": "chronyd is not synchronised",
    }  # fmt: skip
    assert not any(told["meets"].values())
