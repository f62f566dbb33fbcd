"""`./appliance demo --json`: a newcomer's first command keeps every promise that it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


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
