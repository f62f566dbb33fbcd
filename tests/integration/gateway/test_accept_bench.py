"""The benchmark runs, and its load is real: every 202 of it is a row."""

from __future__ import annotations

import psycopg
import pytest

from ops.bench.accept import run
from tests.fixtures.postgres import Database

pytestmark = pytest.mark.stack

WHOLE = ("accept_throughput", "accept_uvicorn_throughput")
"""Of half a second each, warmed up before."""


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
    figures = ("throughput", "p50_ms", "p99_ms")
    assert [r["name"] for r in results] == [
        *(f"accept_{figure}" for figure in figures),
        *(f"accept_uvicorn_{figure}" for figure in figures),
        "accept_uvicorn_beside_hypercorn",
    ]
    assert all(r["value"] > 0 and r["floor"] > 0 for r in results)
    kept = count(database)
    assert kept >= sum(r["value"] * 0.5 for r in results if r["name"] in WHOLE)


def count(database: Database) -> int:
    with psycopg.connect(database.superuser) as conn:
        row = conn.execute("SELECT count(*) FROM signals").fetchone()
    assert row is not None
    return int(row[0])
