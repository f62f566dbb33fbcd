"""`bench accept`: ops/bench/accept.py on stores of its own, in turns with pgbench."""

from __future__ import annotations

from collections.abc import Callable

from ops.bench import accept
from ops.bench.measure import Effort, Measurement, Series
from ops.bench.pgbench import commits
from ops.bench.stores import stores

CONNECTIONS = 32

UNITS = {
    "accept_throughput": "1/s",
    "accept_p50_ms": "ms",
    "accept_p99_ms": "ms",
    "accept_uvicorn_throughput": "1/s",
    "accept_uvicorn_p50_ms": "ms",
    "accept_uvicorn_p99_ms": "ms",
    "accept_uvicorn_beside_hypercorn": "1/s",
    "accept_keep_throughput": "1/s",
}


async def run(effort: Effort, say: Callable[[str], None]) -> list[Measurement]:
    """Figures beside a bare 202; the throughput once more beside single commits."""
    series = Series(UNITS)
    seconds = 1 if effort.quick else 3
    say("accept: PostgreSQL and Redis of its own")
    with stores() as here:
        for number in range(effort.runs):
            say(f"accept: run {number + 1} of {effort.runs}")
            floor = await commits(here.superuser, clients=CONNECTIONS, seconds=seconds)
            rows = await accept.run(
                admin_conninfo=here.roles.admin,
                ingress_conninfo=here.roles.ingress,
                redis_socket=here.redis_socket,
                runs=1,
                seconds=seconds,
                connections=CONNECTIONS,
                profiler=effort.profiler if number == effort.runs - 1 else None,
            )
            for row in rows:
                series.value(**{row["name"]: row["value"]})
                series.floor(**{row["name"]: row["floor"]})
            series.value(accept_keep_throughput=rows[0]["value"])
            series.floor(accept_keep_throughput=floor.per_s)
    return series.measurements()
