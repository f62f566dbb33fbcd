"""A spot account at the Gate.io simulator in a running worker: bought, closed to the last step, never short."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from fanout.brokers.gateio_spot.adapter import GateioSpotBroker
from loadtest.exchanges.gateio.spot_control_client import SpotControlClient
from tenancy.clock import SystemClock
from tenancy.store.accounts import put_credential
from tests.contract.venues import gateio_spot_settings
from tests.fakes.signer import InProcessSigner
from tests.fixtures.proving import prove_all

FILLED = "SELECT count(*) FROM orders WHERE state = 'filled'"
PLANS = "SELECT count(*) FROM plans"
REASON = "SELECT plan #>> '{groups,0,reason}' FROM plans ORDER BY rotation DESC LIMIT 1"


@pytest.fixture
async def venue(bench, admin, gateio) -> GateioSpotBroker:
    """The simulator with the account's key; fees are taken from what is received."""
    await bench.set_up(1, broker="gateio_spot")
    (account,) = bench.accounts
    async with admin.tenant(bench.scope) as conn:
        await put_credential(
            conn, bench.scope, account, broker="gateio_spot", api_key="rich", sealed=b"sealed"
        )
    await prove_all(bench.made)
    async with SpotControlClient(gateio.url) as control:
        await control.create_spot_account("rich", "s1", USDT=Decimal(10_000))
    signer = InProcessSigner({account: b"s1"})
    broker = GateioSpotBroker(gateio_spot_settings(gateio.url), signer, SystemClock())
    bench.beside["gateio_spot"] = broker
    bench.settings = msgspec.structs.replace(bench.settings, lease_ttl_s=2.5)
    return broker


async def test_what_was_bought_is_sold_to_the_last_step_and_nothing_is_sold_short(bench, venue):
    async with bench.worker():
        await bench.until("SELECT count(*) FROM balances", 1)
        await bench.signal(ticker="XRP_USDT", quantity="12.34")
        await bench.until(FILLED, 1)
        # A flip, which spot has not: what is held is closed, and nothing is opened.
        await bench.signal(ticker="XRP_USDT", action="sell", quantity=50)
        await bench.until(FILLED, 2)
        await bench.signal(ticker="XRP_USDT", action="sell", quantity=50)
        await bench.until(PLANS, 3)
        assert await bench.rows(REASON) == [("no_shorts",)]
    rows = await bench.rows("SELECT side, cum_qty, reduce_only FROM orders ORDER BY intent_at")
    assert rows == [("buy", Decimal("12.31"), False), ("sell", Decimal("12.31"), True)]
    assert await bench.rows("SELECT qty FROM positions") == [(Decimal(0),)]
    async with SpotControlClient(venue._settings.base_url) as control:
        held = {row.currency: row.available for row in await control.spot_balances()}
    assert held["XRP"] == Decimal("0.00532")
