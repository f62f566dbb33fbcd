"""The benchmark as it is called: one JSON list on stdout, a picture beside it, nothing left over."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import psycopg
import pytest

from ops.bench.stores import stores
from ops.processes import ROOT

pytestmark = pytest.mark.stack


async def test_a_quick_bench_prints_only_json_and_writes_its_picture(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ops.bench", "hsm", "--quick", "--json", "--out", str(tmp_path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    rows = json.loads(out)
    assert [row["name"] for row in rows] == [
        "hsm_daemon_signatures_per_s",
        "hsm_daemon_p99_ms",
        "hsm_network_1500us_signatures_per_s",
    ]
    assert set(rows[0]) == {"name", "value", "unit", "floor", "ratio", "runs"}
    assert rows[0]["ratio"] == pytest.approx(rows[0]["value"] / rows[0]["floor"], rel=1e-3)
    assert len(rows[0]["runs"]) == 1
    assert (tmp_path / "bench-hsm.png").read_bytes().startswith(b"\x89PNG")


async def test_the_benchmarks_stores_are_made_while_a_loop_runs() -> None:
    """As `accept`, `audit` and `pages` ask for them."""
    with stores() as made:
        async with await psycopg.AsyncConnection.connect(made.roles.admin) as conn:
            row = await (await conn.execute("SELECT state FROM platform_terms()")).fetchone()
        assert row == ("active",)
