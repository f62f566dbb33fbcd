"""What an account has used of its limits, as the API shows it: exact, and null where nobody can tell."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest

from fanout.market import Instruments
from gateway.admin import usage
from tests.builders import instrument
from tests.fixtures.api import Api
from tests.integration.gateway.set_up import guard, proposals

pytestmark = pytest.mark.stack


async def made(api: Api):
    """Two strategies hold 4 and -2 lots, both from 10; -3 (price times lots) was realised today."""
    admin = api.as_("admin")
    strategy = (await admin.make("/v1/strategies", name="s", limits={"max_leverage": "1.5"}))[
        "strategy_id"
    ]
    one = await admin.make(
        "/v1/accounts", name="a", broker="paper", currency="USDT", stated_equity="100",
        limits={"max_orders_per_minute": 9, "max_daily_loss": "50", "max_position_quantity": "7"},
    )  # fmt: skip
    own, account = api.tenant("admin"), one["account_id"]
    with psycopg.connect(api.database.superuser) as conn:
        for qty, by in ((4, strategy), (-2, str(uuid4()))):
            conn.execute(
                "INSERT INTO positions (account_id, strategy_id, symbol, tenant_id, qty, avg_px,"
                " updated_at) VALUES (%s, %s, 'BTC', %s, %s, 10, now())",
                (account, by, own, qty),
            )
        conn.execute(
            "INSERT INTO daily_results (account_id, strategy_id, symbol, day, tenant_id, realised)"
            " VALUES (%s, %s, 'BTC', %s, %s, -3)",
            (account, strategy, datetime.now(UTC).date(), own),
        )
    return strategy, account


async def test_without_prices_what_is_counted_is_shown_and_money_is_null(api: Api):
    _, account = await made(api)
    seen = await api.as_("admin").get(f"/v1/accounts/{account}/usage")
    assert seen["orders_last_minute"] == {"used": "0", "limit": "9", "source": "account"}
    assert seen["daily_loss"] == {"used": None, "limit": "50", "source": "account"}
    assert seen["leverage"] == {"used": None, "limit": None, "source": None}
    (position,) = seen["positions"]
    assert (position["net"], position["long"], position["short"]) == ("2", "4", "2")
    assert position["quantity"] == {"used": "4", "limit": "7", "source": "account"}
    assert seen["trading_day"] == datetime.now(UTC).date().isoformat()


async def test_with_prices_loss_worth_and_leverage_are_told(api: Api, monkeypatch):
    """4 long and 2 short at 10, now at 8, 5 units a lot: 20 lost on the net of 2, and 15 realised."""
    strategy, account = await made(api)
    known = Instruments([instrument("BTC", multiplier=5, mark_price=8, last_price=None)])

    async def pictured(call):
        return {"paper": known}

    monkeypatch.setattr(usage, "_instruments", pictured)
    seen = await api.as_("admin").get(f"/v1/accounts/{account}/usage?strategy_id={strategy}")
    assert (seen["realised_today"], seen["unrealised"]) == ("-15", "-20")
    assert seen["daily_loss"]["used"] == "35"
    assert (seen["worth"], seen["equity"]) == ("160", "100")
    assert seen["leverage"] == {"used": "1.6", "limit": "1.5", "source": "strategy"}


async def test_another_tenants_account_is_nobodys(api: Api):
    _, account = await made(api)
    path = f"/v1/accounts/{account}/usage"
    assert (await api.as_("other")("GET", path)).status == 404
    assert (await api.as_("admin")("GET", f"{path}?strategy_id={uuid4()}")).status == 404


async def test_a_day_that_begins_anew_and_another_rate_wait_as_looser_limits_do(api: Api):
    guard(api, "limits")
    admin = api.as_("admin")
    revision = (await admin.get("/v1/tenant"))["revision"]
    for settings in (
        {"trading_day": {"start": "09:00"}},
        {"fx_rates": {"USD/TWD": "32"}},
    ):
        reply = await admin.change("/v1/tenant", revision, settings=settings)
        assert reply.status == 202, reply
        assert proposals(api)[-1]["reasons"] == ["limits"]
