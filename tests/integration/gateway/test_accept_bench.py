"""The benchmark runs, and its load is real: every 202 of it is a row."""

from __future__ import annotations

import pytest

from ops.bench.accept import run
from tests.fixtures.postgres import Database

pytestmark = pytest.mark.stack


async def test_a_short_benchmark_measures_whole_against_bare(
    database: Database, redis_server: str
) -> None:
    results = await run(
        admin_conninfo=database.conninfo("admin"),
        ingress_conninfo=database.conninfo("ingress"),
        redis_socket=redis_server,
        runs=1,
        seconds=0.5,
        connections=4,
    )
    assert [r["name"] for r in results] == ["accept_throughput", "accept_p50_ms", "accept_p99_ms"]
    assert all(r["value"] > 0 and r["floor"] > 0 for r in results)
    print(results)
