"""What people set up, kind by kind: made, read, changed, and what each refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.api import Api

pytestmark = pytest.mark.stack

ACCOUNT = {"broker": "paper", "currency": "USDT"}


async def furnish(api: Api, tenant: str = "admin") -> dict[str, Any]:
    """One of each, by id."""
    client = api.as_(tenant)
    strategy = (await client.make("/v1/strategies", name="trend"))["strategy_id"]
    group = (await client.make("/v1/groups", name="careful"))["group_id"]
    account = await client.make("/v1/accounts", name="a", group_id=group, **ACCOUNT)
    account_id = account["account_id"]
    subscription = await client.make(
        "/v1/subscriptions", strategy_id=strategy, account_id=account_id
    )
    hook = await client.make("/v1/hooks", name="tv", strategy_id=strategy)
    key = await client.make("/v1/service-keys", name="robot", scopes=["orders:read"])
    return {
        "strategies": strategy,
        "groups": group,
        "accounts": account_id,
        "subscriptions": subscription["subscription_id"],
        "hooks": hook["hook_id"],
        "service-keys": key["key_id"],
    }


async def test_one_of_each_is_read_as_it_was_made_and_changed(api: Api):
    admin = api.as_("admin")
    made = await furnish(api)
    patches: dict[str, dict[str, Any]] = {
        "groups": {"settings": {"override_quantity": "2"}, "limits": {"max_order_quantity": "3"}},
        "accounts": {"stated_equity": "1000.50", "settings": {"sub": "x"}},
        "subscriptions": {"enabled": False, "priority": 3},
        "hooks": {"enabled": False, "per_minute": 5},
        "service-keys": {"scopes": ["signals:read", "orders:read"], "sources": ["10.0.0.0/8"]},
    }
    for path, patch in patches.items():
        address = f"/v1/{path}/{made[path]}"
        reply = await admin.change(address, 1, **patch)
        assert reply.status == 200, reply
        assert reply.json()["revision"] == 2
        now = await admin.get(address)
        assert now == reply.json()
        for name, value in patch.items():
            assert now[name] == (sorted(value) if name == "scopes" else value)
        back = await admin("POST", f"{address}/rollback", {"revision": 1}, {"if-match": '"2"'})
        assert (back.status, back.json()["revision"]) == (200, 3), back
