"""A signal's outcome through the API: whole, account by account, and of plans of an earlier version."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest

from gateway.admin import outcome as api_outcome
from tests.fixtures.api import Api
from tests.integration.gateway.test_reports import Books, books

pytestmark = pytest.mark.stack


def entries(made: Books, reasons: list[str]) -> str:
    return json.dumps(
        {
            "entries": [
                {"account_id": account, "place": place, "broker": "paper", "reason": reason}
                for place, (account, reason) in enumerate(zip(made.accounts, reasons, strict=True))
            ]
        }
    )


async def planned(api: Api, reasons: list[str], *orders: dict[str, Any]) -> tuple[Books, UUID]:
    """A signal whose plan is written as an earlier version did, with no row for its outcome."""
    made = await books(api, len(reasons))
    signal = made.signal(*orders)
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute(
            "UPDATE plans SET plan = %s WHERE signal_id = %s", (entries(made, reasons), signal)
        )
    return made, signal


REASONS = ["order", "order", "order", "no_position"]
ORDERS = (
    {"px": 101},
    {"state": "rejected", "filled": 0, "px": None},
    {"px": 103, "send_ms": 20},
)


async def test_an_outcome_is_one_object(api: Api):
    made, signal = await planned(api, REASONS, *ORDERS)
    outcome = await api.as_("admin").get(f"/v1/signals/{signal}/outcome")
    assert outcome["state"] == "done", "it has no row, and nothing of it is open"
    assert outcome["states"] == {"failed": 1, "filled": 2, "skipped": 1}
    assert outcome["reasons"] == {"no_position": 1, "order": 3}
    assert outcome["accounts"] == 4
    (total,) = outcome["totals"]
    assert (total["accounts"], total["order_qty"], total["cum_qty"]) == (3, "3", "2")
    assert (total["avg_px"], total["slippage_signal_bps"]) == ("102", "200.0000")
    assert outcome["latency"]["send_ms"] == {
        "n": 3, "mean": 13.333, "p50": 10.0, "p95": 20.0, "most": 20.0,
    }  # fmt: skip
    assert outcome["strategy_id"] == made.strategy


async def test_the_accounts_of_an_outcome_are_pages_in_fan_out_order(api: Api):
    made, signal = await planned(api, REASONS, *ORDERS)
    address = f"/v1/signals/{signal}/outcome/accounts"
    admin = api.as_("admin")
    first = await admin.get(f"{address}?limit=3")
    rest = await admin.get(f"{address}?limit=3&cursor={first['next']}")
    items = first["items"] + rest["items"]
    assert "next" not in rest
    assert [item["account_id"] for item in items] == made.accounts
    assert [item["state"] for item in items] == ["filled", "failed", "filled", "skipped"]
    one = items[2]
    assert (one["avg_px"], one["slippage_signal_bps"], one["send_ms"]) == ("103", "300", 20.0)
    assert one["orders"][0]["status"] == "filled"
    assert items[3]["planned"]["sentence"].startswith("There is no position")


async def test_accounts_are_found_by_state_and_by_reason(api: Api, monkeypatch):
    """A page looks at so many and no more; it may be empty and still say where to go on."""
    monkeypatch.setattr(api_outcome, "LOOKED_AT_MAX", 2)
    made, signal = await planned(api, REASONS, *ORDERS)
    address = f"/v1/signals/{signal}/outcome/accounts"
    admin = api.as_("admin")
    found, cursor, pages = [], "", 0
    while pages < 9:
        page = await admin.get(f"{address}?state=skipped{cursor}")
        found += [item["account_id"] for item in page["items"]]
        pages += 1
        if "next" not in page:
            break
        cursor = f"&cursor={page['next']}"
    assert (found, pages) == ([made.accounts[3]], 2)
    page = await admin.get(f"{address}?reason=no_position")
    assert [item["account_id"] for item in page["items"]] == [made.accounts[3]]
    page = await admin.get(f"{address}?state=filled&limit=1")
    assert [item["account_id"] for item in page["items"]] == [made.accounts[0]]
    page = await admin.get(f"{address}?state=filled&limit=1&cursor={page['next']}")
    assert [item["account_id"] for item in page["items"]] == [made.accounts[2]]
    assert (await admin("GET", f"{address}?state=lost")).status == 422


async def test_another_tenants_outcome_is_nobodys(api: Api):
    _, signal = await planned(api, REASONS, *ORDERS)
    for address in (f"/v1/signals/{signal}/outcome", f"/v1/signals/{signal}/outcome/accounts"):
        assert (await api.as_("other")("GET", address)).status == 404
