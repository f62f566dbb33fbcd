"""From a webhook to the orders at the exchange, on a whole installation with everything on.

TLS, HSM, rows, audit log, two workers: nothing is left out. The exchange is the simulator on
loopback; when an order arrived there is read from its own books, by the clock of the same machine.

One run, in this order, so that floor and subject share whatever the machine does meanwhile:

1. a plain loop of 1,000 orders, and of 20 (the floor);
2. one webhook for 1,000 accounts, and one for 20;
3. single plain orders, 8 at a time; webhooks of 8 strategies with one account each, 8 at a time.

Between them everything settles: the next begins when no order of the last is open. With a profiler, single
webhooks and the thousand once more after the last run, looked at.
"""

from __future__ import annotations

import asyncio

from ops.bench.measure import Effort, Measurement, Series, percentile
from ops.bench.plain_loop import PlainLoop, spread
from ops.bench.profile import Profiler, python_processes
from ops.bench.stage import WORKERS, Say, Stage, arrivals, stage

MANY, FEW, AT_ONCE = 1000, 20, 8
CONNECTIONS = 64
"""Of each worker, and of the plain loop for each worker."""
ROUNDS = 16
"""Of eight webhooks each in a run: 128 samples for the 99th percentile."""

UNITS = {
    "first_order_p50_ms": "ms",
    "first_order_p99_ms": "ms",
    "fanout_20_last_ms": "ms",
    "fanout_1000_first_ms": "ms",
    "fanout_1000_last_ms": "ms",
    "dispatch_throughput": "orders/s",
}
SINGLES = {f"one of {AT_ONCE}: {n}": [FEW + n] for n in range(AT_ONCE)}
STRATEGIES = {"a thousand": range(MANY), "twenty": range(FEW), **SINGLES}


async def run(effort: Effort, say: Say) -> list[Measurement]:
    """All figures of the fan-out. Raises PortcullisError where the installation does not work."""
    series = Series(UNITS)
    async with (
        stage(say, STRATEGIES, connections=CONNECTIONS) as here,
        PlainLoop(here.market, MANY, CONNECTIONS * WORKERS) as plain,
    ):
        await here.warm()
        for number in range(effort.runs):
            say(f"fanout: run {number + 1} of {effort.runs}")
            await _one_run(here, plain, series, ROUNDS // 4 if effort.quick else ROUNDS)
        if effort.profiler is not None:
            await _profiled(here, effort.profiler, quick=effort.quick)
    return series.measurements()


async def _profiled(here: Stage, profiler: Profiler, *, quick: bool) -> None:
    """Where the installation's own processes spend their time: single orders, and a thousand at once."""
    singles = [here.crowds[name] for name in SINGLES]
    processes = python_processes(here.here.state.supervisor.pid)
    async with profiler.of("first_order", processes):
        for _ in range(ROUNDS // 4 if quick else ROUNDS * 8):
            await here.together(*singles)
    async with profiler.of("fanout_1000", processes):
        for _ in range(2 if quick else 20):
            await here.together(here.crowds["a thousand"])


async def _one_run(here: Stage, plain: PlainLoop, series: Series, rounds: int) -> None:
    a_thousand, twenty = here.crowds["a thousand"], here.crowds["twenty"]
    singles = [here.crowds[name] for name in SINGLES]
    floor_many, floor_few = await plain.send(MANY), await plain.send(FEW)
    (many,), (few,) = await here.together(a_thousand), await here.together(twenty)
    floor_single, single = [], []
    for _ in range(rounds):
        floor_single += await asyncio.gather(*(plain.single() for _ in range(AT_ONCE)))
        single += await here.together(*singles)
    at = {order.text: order.arrived_wall for order in await here.market.executed()}

    first, last, rate = spread(floor_many[0], [at[text] for text in floor_many[1]])
    series.floor(fanout_1000_first_ms=first, fanout_1000_last_ms=last, dispatch_throughput=rate)
    series.floor(fanout_20_last_ms=spread(floor_few[0], [at[text] for text in floor_few[1]])[1])
    first, last, rate = spread(many.sent_at, arrivals(many, a_thousand[0], at))
    series.value(fanout_1000_first_ms=first, fanout_1000_last_ms=last, dispatch_throughput=rate)
    series.value(fanout_20_last_ms=spread(few.sent_at, arrivals(few, twenty[0], at))[1])
    took = [
        spread(one.sent_at, arrivals(one, following, at))[0]
        for one, (following, _) in zip(single, singles * rounds, strict=True)
    ]
    floors = [(at[text] - begun) * 1000 for begun, text in floor_single]
    series.value(first_order_p50_ms=percentile(took, 50), first_order_p99_ms=percentile(took, 99))
    series.floor(
        first_order_p50_ms=percentile(floors, 50), first_order_p99_ms=percentile(floors, 99)
    )
