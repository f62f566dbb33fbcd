"""Does an order cost the same among 20 accounts and among 10,000, and what does a slow broker change?

`order_cpu_us_N`: CPU time of the whole installation (PostgreSQL, signer, recorder and all) for each order of a
fan-out over N accounts; what it spends on no order was measured just before, over a whole period of what
is done for accounts unasked (each one's equity every 30 s), and is taken off. The floor is what a plain
loop spends on sending as many. Small fan-outs are repeated until they are worth counting in the kernel's ticks.

`fanout_1000_delayed_last_ms`: the exchange takes 50 ms over each order. The connections are as many as
that needs: with 64, a thousand orders are sixteen rounds of 50 ms, whatever sends them.
"""

from __future__ import annotations

import asyncio
import time

from ops.bench.cpu import of_tree
from ops.bench.measure import Effort, Measurement, Series
from ops.bench.plain_loop import PlainLoop, spread
from ops.bench.stage import WORKERS, Say, Stage, arrivals, stage

SIZES, QUICK_SIZES = (20, 100, 1000, 10_000), (20, 100)
DELAYED = 1000
DELAY_S = 0.05
CONNECTIONS = 256
"""Of each worker, and of the plain loop for each worker."""
ORDERS_AT_LEAST = 4000
"""Counted in a run of each size: several times what is spent unasked meanwhile."""
IDLE_S = 30.0
QUICK_ORDERS, QUICK_IDLE_S = 1000, 3.0
"""Enough to see that it works: not a figure."""


async def run(effort: Effort, say: Say) -> list[Measurement]:
    """Raises PortcullisError where the installation does not work."""
    sizes = QUICK_SIZES if effort.quick else SIZES
    delayed = min(DELAYED, max(sizes))
    slow = f"fanout_{delayed}_delayed_last_ms"
    series = Series({**{f"order_cpu_us_{size}": "µs" for size in sizes}, slow: "ms"})
    strategies = {str(size): range(size) for size in sizes}
    async with (
        stage(say, strategies, connections=CONNECTIONS) as here,
        PlainLoop(here.market, max(sizes), CONNECTIONS * WORKERS) as plain,
    ):
        await here.warm()
        for number in range(effort.runs):
            say(f"scale: run {number + 1} of {effort.runs}")
            for size in sizes:
                await _cost(here, plain, series, size, quick=effort.quick)
            await _slow(here, plain, series, delayed, slow)
    return series.measurements()


async def _cost(here: Stage, plain: PlainLoop, series: Series, size: int, *, quick: bool) -> None:
    least, idle_s = (QUICK_ORDERS, QUICK_IDLE_S) if quick else (ORDERS_AT_LEAST, IDLE_S)
    rounds = max(1, least // size)
    rounds += rounds % 2  # buy and exit in turn: as many of each
    name, root = f"order_cpu_us_{size}", here.here.state.supervisor.pid
    began = time.process_time()
    for _ in range(rounds):
        await plain.send(size)
    series.floor(**{name: (time.process_time() - began) * 1e6 / (rounds * size)})
    began_at, spent = time.monotonic(), of_tree(root)
    await asyncio.sleep(idle_s)
    idle = (of_tree(root) - spent) / (time.monotonic() - began_at)
    began_at, spent = time.monotonic(), of_tree(root)
    for _ in range(rounds):
        await here.together(here.crowds[str(size)])
    spent = of_tree(root) - spent - idle * (time.monotonic() - began_at)
    series.value(**{name: spent * 1e6 / (rounds * size)})


async def _slow(here: Stage, plain: PlainLoop, series: Series, size: int, name: str) -> None:
    following, by = here.crowds[str(size)]
    await here.market.faults([{"kind": "delay_before", "seconds": DELAY_S}])
    try:
        begun, texts = await plain.send(size)
        (sent,) = await here.together((following, by))
    finally:
        await here.market.clear_faults()
    at = {order.text: order.arrived_wall for order in await here.market.executed()}
    series.floor(**{name: spread(begun, [at[text] for text in texts])[1]})
    series.value(**{name: spread(sent.sent_at, arrivals(sent, following, at))[1]})
