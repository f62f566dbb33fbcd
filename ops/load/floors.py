"""What this host gives without the product, in the same run: a bare 202, and a plain loop of orders."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from ops.bench import accept, accept_client
from ops.bench.plain_loop import PlainLoop, spread
from ops.load.ground import CONNECTIONS
from ops.trial.exchange import exchange

HTTP_CONNECTIONS = 32
HTTP_S = 2.0
ORDERS = 1000
HOOK, KEY = "floor", bytes(32)
"""The bare server looks at neither."""


class Floors(msgspec.Struct, frozen=True, kw_only=True):
    """`orders_cpu_s`: what the plain loop's own process spends on 1,000 of them."""

    bare_per_s: float
    bare_p50_ms: float
    bare_p99_ms: float
    orders_per_s: float
    orders_cpu_s: float


async def floors(tls: Path, directory: Path, workers: int) -> Floors:
    """Both, one after the other. `tls`: the installation's own certificates, for the same handshake."""
    async with accept.server("bare", tls) as door:
        bare = await accept_client.load(door, HOOK, KEY, HTTP_S, HTTP_CONNECTIONS)
    async with exchange(directory / "floor-exchange.log") as market:
        await market.depth("BTC_USDT", "60000", "100000000")
        async with PlainLoop(market, ORDERS, CONNECTIONS * workers) as plain:
            cpu = time.process_time()
            begun, texts = await plain.send(ORDERS)
            cpu = time.process_time() - cpu
        at = {order.text: order.arrived_wall for order in await market.executed()}
    rate = spread(begun, [at[text] for text in texts])[2]
    return Floors(
        bare_per_s=bare.per_s,
        bare_p50_ms=bare.p50_ms,
        bare_p99_ms=bare.p99_ms,
        orders_per_s=rate,
        orders_cpu_s=cpu,
    )
