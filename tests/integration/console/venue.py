"""A house that trades at an exchange as well: the simulator, an account there, and somebody's own hand at it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from ops.trial.exchange import Exchange, broker_settings, exchange, exchange_account
from tests.integration.console.house import House, house
from tests.integration.main_job.company import until
from tests.integration.simulator.clients import ORDERS, Wire

QUICK = {"reconcile_s": 1.0}
LOST = (
    {"kind": "drop_after"},
    {"kind": "500_before", "method": "GET", "path": f"{ORDERS}/*"},
)


class Venue:
    """The exchange, and the key of one account there that the house does not know yet."""

    def __init__(self, home: House, market: Exchange) -> None:
        self.home, self.market = home, market
        self.key, self.secret = f"key-{uuid4().hex[:8]}", uuid4().hex
        self.account = ""

    async def open(self) -> None:
        """The account at the exchange, and its row in the house, with no credential and no strategy."""
        await self.market.accounts([exchange_account(self.key, self.secret, "100000")])
        for contract, price in (("BTC_USDT", "60000"), ("ETH_USDT", "3000")):
            await self.market.depth(contract, price, "1000000")
        made = await self.home.acme.api.make(
            "/v1/accounts",
            {"name": "At the exchange", "broker": "gateio", "currency": "USDT", "stated_equity": "100000"},
        )  # fmt: skip
        self.account = str(made["account_id"])

    async def follow(self) -> None:
        """It takes the strategy's signals, and book and broker are known to agree."""
        body = {"strategy_id": self.home.strategy, "account_id": self.account}
        await self.home.acme.api.make("/v1/subscriptions", body)
        await until(self._agrees, 60.0)

    async def _agrees(self) -> bool:
        found = await self.home.acme.api.get(
            "/v1/reconciliations", account_id=self.account, state="agreed"
        )
        return bool(found["items"])

    @asynccontextmanager
    async def lost(self) -> AsyncIterator[None]:
        """Orders are executed and their answers lost, and no question about an order is answered."""
        await self.market.faults(list(LOST))
        try:
            yield
        finally:
            await self.market.clear_faults()

    async def by_hand(self, size: int) -> None:
        """As the account's owner trades without us."""
        wire = Wire(self.market.url, self.key, self.secret)
        status, answer = await wire.order("t-by-hand", size=size, contract="ETH_USDT")
        assert status == 201, answer


@asynccontextmanager
async def venue(var: Path) -> AsyncIterator[Venue]:
    """Up, with one paper account and one at the exchange."""
    async with exchange(var.parent / "exchange.log") as market:
        brokers = {"gateio": broker_settings(market.url, connections=8)}
        async with house(var, 1, brokers=brokers, worker=QUICK) as home:
            made = Venue(home, market)
            await made.open()
            yield made
