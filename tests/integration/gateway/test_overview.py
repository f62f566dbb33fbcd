"""Many accounts at once, and what a halt would touch: counted by the tenant's own rows, a page at a time."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.fixtures.api import Api
from tests.integration.gateway.furniture import Furniture, unique
from tests.integration.gateway.set_up import furnish
from tests.integration.gateway.traded import traded

pytestmark = pytest.mark.stack


async def house(api: Api) -> dict[str, str]:
    """One account that traded, with a group; three more with names in another order than their ids."""
    admin = api.as_("admin")
    made = await furnish(api)
    for name in ("Zephyr", "Älpli", "beta 100%"):
        await admin.make("/v1/accounts", name=name, broker="paper", currency="USDT")
    ids = {
        "account_id": made["accounts"],
        "strategy_id": made["strategies"],
        "hook_id": made["hooks"],
    }
    return made | traded(api, "admin", ids)


async def names(api: Api, query: str = "") -> list[str]:
    return [
        one["name"]
        for one in (await api.as_("admin").get(f"/v1/accounts/overview{query}"))["items"]
    ]


async def test_accounts_page_by_name_and_each_comes_once(api: Api):
    await house(api)
    whole = await names(api, "?limit=100")
    paged, cursor = [], ""
    while cursor is not None:
        page = await api.as_("admin").get(f"/v1/accounts/overview?limit=1{cursor}")
        paged += [one["name"] for one in page["items"]]
        cursor = f"&cursor={page['next']}" if page.get("next") else None
    assert paged == whole
    assert len(set(whole)) == len(whole) == 4


async def test_accounts_are_found_by_a_part_of_the_name_and_by_what_is_so_of_them(api: Api):
    made = await house(api)
    admin = api.as_("admin")
    assert await names(api, "?name=LPL") == ["Älpli"]
    assert await names(api, "?name=0%25") == ["beta 100%"], "a percent sign means itself"
    halt = {"scope": "account", "object_id": made["accounts"], "level": "no_open", "reason": "r"}
    await admin("POST", "/v1/halts", halt)
    (one,) = (await admin.get("/v1/accounts/overview?state=reducing"))["items"]
    assert one["account_id"] == made["accounts"]
    assert (one["state"], one["equity"], one["positions"]) == ("reducing", "10", 1)
    assert (one["open_drifts"], one["credential"]) == (0, "missing")
    assert one["worth"] is None, "nobody knows a price here"
    assert len(await names(api, "?credential=missing")) == 4
    assert await names(api, "?drifts=true") == []


async def test_an_account_without_positions_is_worth_nothing_and_not_unknown(api: Api):
    await house(api)
    (one,) = (await api.as_("admin").get("/v1/accounts/overview?name=zephyr"))["items"]
    assert (one["worth"], one["leverage"], one["equity"]) == ("0", None, None)


async def test_another_tenant_sees_none_of_them(api: Api):
    await house(api)
    assert (await api.as_("other").get("/v1/accounts/overview"))["items"] == []


async def reach(api: Api, object_id: str = "") -> dict[str, dict[str, Any]]:
    query = f"?object_id={object_id}" if object_id else ""
    found = await api.as_("admin").get(f"/v1/halts/reach{query}")
    return {one["scope"]: one for one in found["items"]}


COUNTS = ("accounts", "open_orders", "standing_orders", "positions")


def counts(one: dict[str, Any]) -> tuple[int, ...]:
    return tuple(one[name] for name in COUNTS)


async def test_what_a_halt_would_touch_is_told_for_every_layer(api: Api):
    made = await house(api)
    signal = made["signal_id"]
    with psycopg.connect(api.database.superuser) as conn:
        for number, role, state in (
            (1, "main", "new"),
            (2, "stop", "held"),
            (3, "main", "filled"),
        ):
            conn.execute(
                "INSERT INTO orders (cl_ord_id, order_id, tenant_id, signal_id, strategy_id, account_id, part,"
                " leg, attempt, place, broker, symbol, side, order_qty, ord_type, time_in_force, deadline,"
                " state, epoch, cum_qty, intent_at, traceparent, role) SELECT %s, order_id, tenant_id,"
                " signal_id, strategy_id, account_id, part, %s, attempt, place, broker, symbol, side, 1,"
                " ord_type, time_in_force, deadline, %s, epoch, 0, intent_at, traceparent, %s FROM orders"
                " WHERE signal_id = %s AND leg = 0",
                (unique("o"), number, state, role, signal),
            )  # fmt: skip
    seen = await reach(api)
    assert counts(seen["tenant"]) == (4, 1, 1, 1)
    assert counts(seen["strategy"]) == counts(seen["group"]) == (1, 1, 1, 1)
    assert "account" not in seen, "accounts are asked for one by one"
    (alone,) = (await reach(api, made["accounts"])).values()
    assert (alone["scope"], *counts(alone)) == ("account", 1, 1, 1, 1)
    stranger = Furniture(api, "other")
    foreign = await stranger.fresh("strategy_id")
    reply = await api.as_("admin")("GET", f"/v1/halts/reach?object_id={foreign}")
    assert reply.status == 404


async def of_instrument(api: Api, broker: str, symbol: str, who: str = "admin") -> dict[str, Any]:
    query = f"?broker={broker}&symbol={symbol}"
    (one,) = (await api.as_(who).get(f"/v1/halts/reach{query}"))["items"]
    return dict(one)


async def test_an_instrument_is_counted_by_its_broker_and_symbol_whether_or_not_it_was_halted(
    api: Api,
):
    made = await house(api)
    broker = (await api.as_("admin").get(f"/v1/accounts/{made['accounts']}"))["broker"]
    before = await of_instrument(api, broker, "BTC")
    assert (before["scope"], before["name"]) == ("instrument", f"{broker} BTC")
    assert (before["state"], before["object_id"], before["positions"]) == ("active", None, 1)
    assert (await of_instrument(api, broker, "ETH"))["positions"] == 0
    assert (await of_instrument(api, broker, "BTC", "other"))["positions"] == 0
    halt = {
        "scope": "instrument",
        "broker": broker,
        "symbol": "BTC",
        "level": "no_open",
        "reason": "r",
    }
    halted = (await api.as_("admin")("POST", "/v1/halts", halt)).json()
    after = await of_instrument(api, broker, "BTC")
    assert (after["state"], after["object_id"]) == ("reducing", halted["object_id"])
    assert (await of_instrument(api, broker, "BTC", "other"))["state"] == "active"


@pytest.mark.parametrize(
    ("query", "field"),
    [("broker=paper", "symbol"), ("symbol=BTC", "broker"), ("broker=nobody&symbol=BTC", "broker")],
)
async def test_half_an_instrument_or_an_unknown_broker_is_told_what_is_missing(
    api: Api, query: str, field: str
):
    reply = await api.as_("admin")("GET", f"/v1/halts/reach?{query}")
    assert (reply.status, reply.json()["field"]) == (422, field), reply
