"""Clients that know nothing of ours trade on the simulator: gate-api for Python here, two for Node by
`python -m tests.longer.gateio_node_clients`, whose versions and hashes are held here."""

from __future__ import annotations

import asyncio
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import gate_api
import pytest

from loadtest.exchanges.gateio.control_client import ControlClient
from loadtest.exchanges.launch import launched
from tests.integration.simulator.clients import limit, market, official

NODE = Path(__file__).parent / "node"
USDT = "usdt"


async def test_gate_api_for_python_trades_everything_that_our_node_scripts_do():
    async with launched() as process, ControlClient(process.url) as control:
        await control.create_account("python", "secret")
        api = official(process.url + "/api/v4", "python", "secret")
        try:
            await asyncio.to_thread(_trade, api)
        finally:
            api.api_client.close()
            api.api_client.rest_client.pool_manager.clear()
        executed = [order.text for order in (await control.audit()).orders]
    assert executed == ["t-filled", "t-rests", "t-b1", "api", "api", "api", "api"]


def _trade(api: gate_api.FuturesApi) -> None:
    """Blocking, as the client is."""
    assert api.create_futures_order(USDT, market(3, "t-filled")).finish_as == "filled"
    rests = api.create_futures_order(USDT, limit(2, "59000", "t-rests"))
    change = gate_api.FuturesOrderAmendment(size="4", price="58000")
    amended = api.amend_futures_order(USDT, "t-rests", change)
    assert (amended.id, amended.size, amended.price) == (rests.id, "4", "58000")
    assert api.cancel_futures_order(USDT, str(rests.id)).finish_as == "cancelled"

    batch = api.create_batch_futures_order(
        USDT, [limit(1, "59000", "t-b1"), limit(900_000, "59000", "t-b2")]
    )
    assert [one.succeeded for one in batch] == [True, False]
    gone = api.cancel_batch_future_orders(USDT, [str(batch[0].id), "77"])
    assert [one.succeeded for one in gone] == [True, False]

    task = gate_api.CountdownCancelAllFuturesTask(timeout=30)
    assert api.countdown_cancel_all_futures(USDT, task).trigger_time > 0

    stop = gate_api.FuturesPriceTriggeredOrder(
        initial=gate_api.FuturesInitialOrder(
            contract="BTC_USDT", size=0, price="0", tif="ioc", close=True
        ),
        trigger=gate_api.FuturesPriceTrigger(strategy_type=0, price_type=0, price="50000", rule=2),
    )
    placed = api.create_price_triggered_order(USDT, stop)
    assert [it.id for it in api.list_price_triggered_orders(USDT, "open")] == [placed.id]
    assert api.cancel_price_triggered_order(USDT, placed.id).finish_as == "cancelled"

    assert Decimal(api.list_futures_accounts(USDT).available) > 0
    assert [fill.text for fill in api.get_my_trades(USDT)] == ["t-filled"]
    assert api.create_futures_order(USDT, market(0, close=True)).finish_as == "filled"
    api.set_dual_mode(USDT, True)
    for size in (2, -1):
        api.create_futures_order(USDT, market(size))
    sides = [(side.mode, side.size) for side in api.get_dual_mode_position(USDT, "BTC_USDT")]
    assert sides == [("dual_long", "2"), ("dual_short", "-1")]
    closing = market(0, reduce_only=True, auto_size="close_long")
    assert api.create_futures_order(USDT, closing).size == "-2"


# ------------------------------------------------------------------ what the Node scripts run with


@pytest.fixture(scope="module")
def lock() -> dict[str, Any]:
    read: dict[str, Any] = json.loads((NODE / "package-lock.json").read_text())
    return read


def test_every_node_package_is_pinned_by_version_and_hash(lock):
    wanted = json.loads((NODE / "package.json").read_text())["dependencies"]
    assert set(wanted) == {"gate-api", "gateio-api"}
    for name, version in wanted.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), "a range could become another client"
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    for path, package in lock["packages"].items():
        assert path == "" or package["integrity"].startswith("sha512-"), path


def test_the_lock_names_no_registry(lock):
    assert "://" not in json.dumps(lock)
