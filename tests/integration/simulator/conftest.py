"""An official client with an account of its own, on a simulator of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import gate_api
import pytest

from tests.fixtures.gateio_simulator import RunningSimulator
from tests.integration.simulator.clients import official


class Trader:
    """The official client's calls by their names, awaited: `await trader.get_position("BTC_USDT")`.

    `usdt` is put first; `unified`, `account` and `subs` are the client's other faces.
    """

    def __init__(self, api: gate_api.FuturesApi) -> None:
        self.api = api
        self.account = gate_api.AccountApi(api.api_client)
        self.unified = gate_api.UnifiedApi(api.api_client)
        self.subs = gate_api.SubAccountApi(api.api_client)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.api, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            return await asyncio.to_thread(method, "usdt", *arguments, **named)

        return call

    def close(self) -> None:
        self.api.api_client.close()
        self.api.api_client.rest_client.pool_manager.clear()


@pytest.fixture
async def trader(gateio: RunningSimulator) -> AsyncIterator[Trader]:
    await gateio.control.create_account(
        "trader", "secret", permissions=("futures", "unified", "spot")
    )
    client = Trader(official(gateio.api, "trader", "secret"))
    yield client
    client.close()
