"""What goes wrong more rarely: a signer asked too much, a slow token, an exchange that tells another story."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from hsm.client import SignerClient
from loadtest.pkcs11.control import Control
from tests.longer.alerts.breaking import (
    FAULTS,
    FUTURES,
    again,
    beside,
    fault,
    named,
    ruled,
    standing,
)
from tests.longer.alerts.faults import BEFORE as FIRST
from tests.longer.alerts.stage import RELAY, SMALL_SIGNER, Stage

MANY = 20
SLOW_US, VERY_SLOW_US = 400_000, 12_000_000
"""Of one call into the token."""
FAR_BELOW = "47000"
MARK = "60000"


def small_signer(stage: Stage) -> SignerClient:
    return SignerClient(stage.ground.here.settings.hsm.signer_sockets[SMALL_SIGNER])


@fault("HsmRateUsedUp")
async def thief(stage: Stage) -> AsyncIterator[None]:
    """somebody opens secrets in a tenant's name, more than its rate allows"""
    tenant = stage.cast.scope.tenant_id
    ((row,), *_) = await stage.sql("SELECT sealed FROM hook_secrets WHERE tenant_id = %s", tenant)

    async def ask() -> None:
        async with small_signer(stage) as client, asyncio.timeout(2):
            await client.open_secret(bytes(row), tenant_id=tenant, subject="hook/nobody")

    async with beside(*(again(ask, 0.2) for _ in range(4))):
        yield


@fault("HsmSlow", within_s=40.0)
async def slow_token(stage: Stage) -> AsyncIterator[None]:
    """two of three signers hang, and the third's token takes 0.4 seconds for a call"""
    with standing(*named(stage, "signer", "signer2")):
        async with delayed(stage, SLOW_US, people=1), beside(again(stage.signal, 0.5)):
            yield


@fault("HsmBusy", "HsmCanarySilent", within_s=40.0)
async def busy_token(stage: Stage) -> AsyncIterator[None]:
    """a token that takes twelve seconds for a call, and many who ask"""
    async with delayed(stage, VERY_SLOW_US, people=MANY):
        yield


@asynccontextmanager
async def delayed(stage: Stage, us: int, *, people: int) -> AsyncIterator[None]:
    """Each call into the token of the small signer takes so long, and so many ask it."""
    relay = Control(stage.places.var / RELAY)

    async def ask() -> None:
        async with small_signer(stage) as client, asyncio.timeout(5):
            await client.public_key("no such log")

    relay.set(latency_us=us)
    try:
        async with beside(*(again(ask, 0.2) for _ in range(people))):
            yield
    finally:
        relay.set(latency_us=0)


@fault("StopsBlind", within_s=75.0)
async def no_prices(stage: Stage) -> AsyncIterator[None]:
    """the exchange gives no prices, while stops that follow the price are held here"""
    protect = {"percent": 20, "breakevenPercent": 5}
    await stage.signal(action="buy", quantity=20, stopLoss=protect)
    await asyncio.sleep(2.0)
    public = [
        {"kind": "500_before", "method": "GET", "path": f"{FUTURES}/{what}"}
        for what in ("contracts*", "tickers*", "order_book*")
    ]
    async with ruled(stage, *public):
        yield
    await stage.signal(action="exit")


@fault("SurprisingReport", within_s=30.0)
async def rests_and_fills(stage: Stage) -> AsyncIterator[None]:
    """a hand in the database calls orders cancelled that rest at the exchange; there they fill"""
    await stage.signal(action="buy", orderType="limit", limitPrice=48_000)
    await asyncio.sleep(2.0)
    await stage.sql("UPDATE orders SET state = 'canceled' WHERE state = 'new' AND price = 48000")
    await stage.ground.market.depth("BTC_USDT", FAR_BELOW, "1000000")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(stage.ground.market.depth, "BTC_USDT", MARK, "1000000")
        yield


@fault("StatementDiffers", "StatementsUnchecked", within_s=120.0)
async def statements(stage: Stage) -> AsyncIterator[None]:
    """fills that stand in our book a day too early, and an account whose statement the exchange does not give"""
    silent = next(member for member in stage.cast.members if member.broker == "gateio")
    yesterday_noon = "date_trunc('day', now() - interval '45 minutes') - interval '12 hours'"
    await stage.sql(f"UPDATE execution_reports SET at = {yesterday_noon} WHERE exec_type = 'trade'")
    await stage.sql("DELETE FROM statement_checks")
    rule = {
        "kind": "500_before", "method": "GET", "path": f"{FUTURES}/my_trades_timerange",
        "key": f"key-{silent.account_id.hex}",
    }  # fmt: skip
    async with ruled(stage, rule):
        for name in stage.ground.here.names("worker"):
            stage.ground.here.kill(name)  # a worker looks first a minute after its start
        yield


BEFORE = (*FIRST, *FAULTS[len(FIRST) :])
"""In this order; archive.py goes on."""
