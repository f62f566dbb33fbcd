"""A Gate.io broker on a server that answers by script, and the answers that Gate gives."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fanout.brokers.gateio.adapter import GateioBroker
from fanout.brokers.gateio.settings import GateioSettings
from fanout.budget import Pace
from tenancy.clock import Clock, SystemClock
from tests.fakes.orders import an_account, an_order
from tests.fakes.scripted_http import Script, ScriptedServer, Seen, reply, scripted
from tests.fakes.signer import InProcessSigner

ACCOUNT = an_account()
ORDER = an_order(ACCOUNT)


def settings(url: str, **changed: Any) -> GateioSettings:
    facts: dict[str, Any] = {
        "base_url": url,
        "sign_timeout_s": 0.2,
        "connect_timeout_s": 0.2,
        "request_timeout_s": 0.4,
        "exptime_ms": 200,
        "clock_error_ms": 20,
        "connections": 4,
        "orders_per_s": 100,
        "orders_burst": 20,
        "instruments_refresh_s": 60.0,
        "instruments_max_age_s": 60.0,
    }
    return GateioSettings(**(facts | changed))


def gate_order(text: str = f"t-{ORDER.cl_ord_id}", **changed: Any) -> dict[str, Any]:
    facts = {"id": 7, "contract": "BTC_USDT", "size": 1, "left": 0, "text": text}
    facts |= {"status": "finished", "finish_as": "filled", "fill_price": "60000"}
    return facts | changed


GONE = reply(404, {"label": "ORDER_NOT_FOUND", "message": "no such order"})
ACK = reply(201, gate_order())


def shown_time() -> bytes:
    """The truth."""
    return reply(200, {"server_time": int(time.time() * 1000)})


@asynccontextmanager
async def at_gate(
    script: Script,
    *,
    clock: Clock | None = None,
    shown: Callable[[], bytes | str] = shown_time,
    budgets: Pace | None = None,
    **changed: Any,
) -> AsyncIterator[tuple[GateioBroker, Any]]:
    """A broker on a scripted Gate, whose contract table is empty. `shown`: what it says of its time."""

    def with_contracts(seen: Seen) -> bytes | str:
        if seen.target in ("/api/v4/futures/usdt/contracts", "/api/v4/futures/usdt/tickers"):
            return reply(200, [])
        if seen.target == "/api/v4/spot/time":
            return shown()
        return script(seen)

    signer = InProcessSigner({}, default=b"secret")
    async with scripted(with_contracts) as server:
        broker = GateioBroker(
            settings(server.url, **changed), signer, clock or SystemClock(), budgets=budgets
        )
        server.signer = signer
        await broker.open()
        server.seen.clear()
        try:
            yield broker, server
        finally:
            await broker.close()


def orders(server: ScriptedServer) -> list[Seen]:
    return [seen for seen in server.seen if seen.method == "POST"]
