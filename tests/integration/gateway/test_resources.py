"""What people set up, kind by kind: made, read, changed, and what each refuses."""

from __future__ import annotations

from typing import Any

import pytest

from tenancy.ids import new_id
from tests.fixtures.api import Api
from tests.integration.gateway.set_up import LIVE, PAPER, furnish, rows

pytestmark = pytest.mark.stack


async def test_one_of_each_is_read_as_it_was_made_changed_and_rolled_back(api: Api):
    admin = api.as_("admin")
    made = await furnish(api)
    patches: dict[str, dict[str, Any]] = {
        "groups": {"settings": {"override_quantity": "2"}, "limits": {"max_order_quantity": "3"}},
        "accounts": {"stated_equity": "1000.5", "settings": {"sub": "x"}, "group_id": None},
        "subscriptions": {"enabled": False, "priority": 3},
        "hooks": {"enabled": False, "per_minute": 5},
        "service-keys": {
            "scopes": ["orders:read", "signals:read"],
            "sources": ["10.0.0.0/8", "192.0.2.7/32"],
            "expires_at": "2030-01-01T00:00:00Z",
            "certificate_sha256": "ab" * 32,
        },
    }
    for path, patch in patches.items():
        address = f"/v1/{path}/{made[path]}"
        reply = await admin.change(address, 1, **patch)
        assert reply.status == 200, reply
        now = await admin.get(address)
        assert now == reply.json()
        assert now["revision"] == 2
        assert {name: now[name] for name in patch} == patch
        back = await admin("POST", f"{address}/rollback", {"revision": 1}, {"if-match": '"2"'})
        assert (back.status, back.json()["revision"]) == (200, 3), back
        history = await admin.get(f"{address}/revisions")
        assert [entry["revision"] for entry in history["items"]] == [3, 2, 1]


async def test_an_account_tells_whether_it_is_live_and_what_signs_for_it(api: Api):
    admin = api.as_("admin")
    paper = await admin.make("/v1/accounts", name="paper", **PAPER)
    live = await admin.make("/v1/accounts", name="live", **LIVE)
    assert (paper["live"], live["live"]) == (False, True)
    assert live["credential"] == "missing"
    page = await admin.get("/v1/accounts?broker=gateio")
    assert [item["name"] for item in page["items"]] == ["live"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("accounts", {"name": "x", "broker": "nowhere", "currency": "USDT"}, "broker"),
        ("accounts", {"name": "x", **PAPER, "currency": "usd"}, "currency"),
        ("accounts", {"name": "x", **PAPER, "leverage": "0"}, ""),
        ("accounts", {"name": "x", **PAPER, "stated_equity": "-1"}, ""),
        ("accounts", {"name": "x", **PAPER, "settings": {"a": {"b": 1}}}, "settings[...]"),
        ("accounts", {"name": "x", **PAPER, "group_id": str(new_id())}, "group_id"),
        ("hooks", {"strategy_id": str(new_id())}, "strategy_id"),
        ("hooks", {"strategy_id": str(new_id()), "per_minute": 0}, "per_minute"),
        ("service-keys", {"name": "x", "scopes": ["proposals:decide"]}, "scopes"),
        ("service-keys", {"name": "x", "sources": ["everywhere"]}, ""),
        ("service-keys", {"name": "x", "expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        (
            "subscriptions",
            {"strategy_id": str(new_id()), "account_id": str(new_id())},
            "account_id",
        ),
    ],
)
async def test_what_cannot_be_is_refused_with_its_place(
    api: Api, path: str, body: dict[str, Any], field: str
):
    reply = await api.as_("admin")("POST", f"/v1/{path}", body)
    assert reply.status == 422, reply
    assert reply.json().get("field", "") == field


async def test_a_broker_that_is_not_connected_is_told_which_ones_are(api: Api):
    reply = await api.as_("admin")(
        "POST", "/v1/accounts", {"name": "x", "broker": "nowhere", "currency": "USDT"}
    )
    assert "gateio, paper" in reply.json()["detail"]


@pytest.mark.parametrize(
    ("path", "patch"),
    [
        ("accounts", {"broker": "gateio"}),
        ("accounts", {"currency": "EUR"}),
        ("subscriptions", {"account_id": str(new_id())}),
        ("subscriptions", {"strategy_id": str(new_id())}),
        ("hooks", {"strategy_id": str(new_id())}),
    ],
)
async def test_what_an_object_is_by_stays(api: Api, path: str, patch: dict[str, Any]):
    made = await furnish(api)
    reply = await api.as_("admin").change(f"/v1/{path}/{made[path]}", 1, **patch)
    assert (reply.status, reply.json()["field"]) == (422, next(iter(patch)))


async def test_ids_of_another_tenant_are_nobodys(api: Api):
    """In an address 404; in a body 422, as an id that never was."""
    theirs, mine = await furnish(api, "other"), await furnish(api)
    admin = api.as_("admin")
    for path in ("strategies", "groups", "accounts", "subscriptions", "hooks", "service-keys"):
        address = f"/v1/{path}/{theirs[path]}"
        assert (await admin("GET", address)).status == 404
        assert (await admin.change(address, "*", name="mine")).status == 404
        assert (await admin.delete(address)).status == 404
        assert (await admin("GET", f"{address}/revisions")).status == 404
        back = await admin("POST", f"{address}/rollback", {"revision": 1}, {"if-match": "*"})
        assert back.status == 404
    for method, address in [
        ("GET", f"/v1/hooks/{theirs['hooks']}/secrets"),
        ("POST", f"/v1/hooks/{theirs['hooks']}/secrets"),
        ("GET", f"/v1/accounts/{theirs['accounts']}/credential"),
        ("DELETE", f"/v1/accounts/{theirs['accounts']}/credential"),
    ]:
        assert (await admin(method, address, {} if method == "POST" else None)).status == 404
    put = {"api_key": "k", "envelope": "AAAA"}
    their_credential = f"/v1/accounts/{theirs['accounts']}/credential"
    assert (await admin("PUT", their_credential, put)).status == 404
    bodies: list[tuple[str, dict[str, Any], str]] = [
        ("hooks", {"strategy_id": theirs["strategies"]}, "strategy_id"),
        ("accounts", {"name": "b", **PAPER, "group_id": theirs["groups"]}, "group_id"),
        (
            "subscriptions",
            {"strategy_id": theirs["strategies"], "account_id": mine["accounts"]},
            "strategy_id",
        ),
        (
            "subscriptions",
            {"strategy_id": mine["strategies"], "account_id": theirs["accounts"]},
            "account_id",
        ),
    ]
    for path, body, field in bodies:
        reply = await admin("POST", f"/v1/{path}", body)
        assert (reply.status, reply.json()["field"]) == (422, field)
    moved = await admin.change(f"/v1/accounts/{mine['accounts']}", "*", group_id=theirs["groups"])
    assert (moved.status, moved.json()["field"]) == (422, "group_id")
    for scope, path in (("strategy", "strategies"), ("group", "groups"), ("account", "accounts")):
        body = {"scope": scope, "object_id": theirs[path], "level": "block_all", "reason": "r"}
        assert (await admin("POST", "/v1/halts", body)).status == 404


async def test_a_secret_is_revoked_through_its_own_hook_alone(api: Api):
    theirs, mine = await furnish(api, "other"), await furnish(api)
    admin = api.as_("admin")
    second = await admin.make("/v1/hooks", strategy_id=mine["strategies"])
    for tenant, hook in (("other", theirs["hooks"]), ("admin", second["hook_id"])):
        (secret,) = (await api.as_(tenant).get(f"/v1/hooks/{hook}/secrets"))["items"]
        address = f"/v1/hooks/{mine['hooks']}/secrets/{secret['secret_id']}"
        assert (await admin("DELETE", address)).status == 404


async def test_a_pair_is_tied_once(api: Api):
    made = await furnish(api)
    reply = await api.as_("admin")(
        "POST",
        "/v1/subscriptions",
        {"strategy_id": made["strategies"], "account_id": made["accounts"]},
    )
    assert reply.status == 409
    assert "follows this strategy already" in reply.json()["detail"]


async def test_a_subscription_ends_by_deletion_and_its_history_stays(api: Api):
    admin, made = api.as_("admin"), await furnish(api)
    assert (await admin.delete(f"/v1/subscriptions/{made['subscriptions']}", 1)).status == 204
    assert (await admin("GET", f"/v1/subscriptions/{made['subscriptions']}")).status == 404
    kept = rows(
        api, "SELECT revision, after FROM revisions WHERE object_id = %s ORDER BY 1",
        made["subscriptions"],
    )  # fmt: skip
    assert [row[0] for row in kept] == [1, 2]
    assert kept[1][1] is None


async def test_what_is_used_is_not_archived_and_says_by_what(api: Api):
    admin, made = api.as_("admin"), await furnish(api)
    for path, users in [
        ("strategies", [made["subscriptions"], made["hooks"]]),
        ("accounts", [made["subscriptions"]]),
        ("groups", ["account a"]),
    ]:
        reply = await admin.delete(f"/v1/{path}/{made[path]}", 1)
        assert (reply.status, reply.json()["code"]) == (409, "conflict")
        assert all(user in reply.json()["detail"] for user in users)
    assert (await admin.delete(f"/v1/subscriptions/{made['subscriptions']}", 1)).status == 204
    assert (await admin.delete(f"/v1/hooks/{made['hooks']}", 1)).status == 204
    for path in ("strategies", "accounts", "groups"):
        assert (await admin.delete(f"/v1/{path}/{made[path]}")).status == 204


async def test_an_account_with_a_position_is_not_archived(api: Api):
    """Archived it would trade no more, and nobody could close what is open."""
    admin = api.as_("admin")
    account = await admin.make("/v1/accounts", name="a", **PAPER)
    with_position = """
        INSERT INTO positions (account_id, strategy_id, symbol, tenant_id, qty, updated_at)
        VALUES (%s, %s, 'BTC_USDT', %s, -3, now()) RETURNING 1"""
    rows(api, with_position, account["account_id"], new_id(), api.tenant())
    reply = await admin.delete(f"/v1/accounts/{account['account_id']}", 1)
    assert reply.status == 409
    assert "open position BTC_USDT" in reply.json()["detail"]


async def test_nothing_begins_on_what_is_archived(api: Api):
    admin = api.as_("admin")
    strategy = (await admin.make("/v1/strategies", name="s"))["strategy_id"]
    group = (await admin.make("/v1/groups", name="g"))["group_id"]
    account = (await admin.make("/v1/accounts", name="a", **PAPER))["account_id"]
    for path in (f"strategies/{strategy}", f"groups/{group}"):
        assert (await admin.delete(f"/v1/{path}", 1)).status == 204
        patched = await admin.change(f"/v1/{path}", 2, name="again")
        assert (patched.status, patched.json()["code"]) == (409, "conflict")
    for path, body, field in [
        ("hooks", {"strategy_id": strategy}, "strategy_id"),
        ("subscriptions", {"strategy_id": strategy, "account_id": account}, "strategy_id"),
        ("accounts", {"name": "b", **PAPER, "group_id": group}, "group_id"),
    ]:
        reply = await admin("POST", f"/v1/{path}", body)
        assert (reply.status, reply.json()["field"]) == (422, field)
        assert "archived" in reply.json()["detail"]


@pytest.mark.parametrize("layer", ["strategies", "groups", "accounts", "subscriptions"])
async def test_no_layer_may_leave_a_subscription_without_a_value(api: Api, layer: str):
    """The signal's quantity is switched off; whoever set the other one may not take it away."""
    admin, made = api.as_("admin"), await furnish(api)
    takes_away: dict[str, Any]
    if layer == "strategies":
        setter, takes_away = "strategies", {"settings": None}
        gives = {"settings": {"default_quantity": "2"}}
    else:
        setter, takes_away = "groups", {"settings": None}
        gives = {"settings": {"override_quantity": "2"}}
        if layer == "accounts":
            takes_away = {"group_id": None}
        if layer == "subscriptions":
            gives = {}
    if gives:
        assert (await admin.change(f"/v1/{setter}/{made[setter]}", "*", **gives)).status == 200
        own = {"use_signal_quantity": False}
        switched = await admin.change(
            f"/v1/subscriptions/{made['subscriptions']}", "*", settings=own
        )
        assert switched.status == 200
    else:
        takes_away = {"settings": {"use_signal_quantity": False}}
    refused = await admin.change(f"/v1/{layer}/{made[layer]}", "*", **takes_away)
    assert refused.status == 422, refused
    assert refused.json()["code"] == "unresolvable"
    assert made["subscriptions"] in refused.json()["detail"]
    assert "quantity" in refused.json()["detail"]


async def test_limits_of_all_layers_are_seen_at_a_glance_page_by_page(api: Api):
    admin, platform = api.as_("admin"), api.as_("platform")
    made = await furnish(api)
    for number, path in enumerate(("strategies", "groups", "accounts"), 1):
        limits = {"max_order_quantity": str(number)}
        changed = await admin.change(f"/v1/{path}/{made[path]}", 1, limits=limits)
        assert changed.status == 200
    seen, path = [], "/v1/limits?limit=2"
    while True:
        page = await admin.get(path)
        seen += [(item["layer"], item["limits"]) for item in page["items"]]
        if "next" not in page:
            break
        path = f"/v1/limits?limit=2&cursor={page['next']}"
    assert seen == [
        ("platform", {}),
        ("tenant", {}),
        ("strategy", {"max_order_quantity": "1"}),
        ("group", {"max_order_quantity": "2"}),
        ("account", {"max_order_quantity": "3"}),
    ]
    assert [item["layer"] for item in (await platform.get("/v1/limits"))["items"]] == ["platform"]


@pytest.mark.parametrize("path", ["strategies", "groups", "accounts"])
async def test_who_may_change_an_object_may_not_for_that_change_its_limits(api: Api, path: str):
    """A trader sets up strategies; the limits on them are somebody else's."""
    made = await furnish(api)
    address = f"/v1/{path}/{made[path]}"
    writer = await api.key("admin", {"strategies:write", "accounts:write"})
    limits = {"max_order_quantity": "1"}
    assert (await writer.change(address, 1, name="renamed")).status == 200
    for reply in (
        await writer.change(address, 2, limits=limits),
        await writer("POST", f"/v1/{path}", {"name": "new", **PAPER, "limits": limits})
        if path == "accounts"
        else await writer("POST", f"/v1/{path}", {"name": "new", "limits": limits}),
    ):
        assert (reply.status, reply.json()["code"]) == (403, "forbidden")
        assert "limits:write" in reply.json()["detail"]


async def test_what_holds_for_a_subscription_names_the_layer_of_each_value(api: Api):
    """Settings: the most specific; limits: the tightest; states: the strictest."""
    admin, made = api.as_("admin"), await furnish(api)
    await admin.change(
        f"/v1/strategies/{made['strategies']}", "*",
        settings={"default_quantity": "1", "direction": "long"}, limits={"max_order_quantity": "5"},
    )  # fmt: skip
    await admin.change(
        f"/v1/groups/{made['groups']}", "*",
        settings={"override_quantity": "2"}, limits={"max_order_quantity": "3"},
    )  # fmt: skip
    own = {"use_signal_quantity": False}
    await admin.change(f"/v1/subscriptions/{made['subscriptions']}", "*", settings=own)
    halt = {
        "scope": "strategy",
        "object_id": made["strategies"],
        "level": "no_open",
        "reason": "r",
    }
    assert (await admin("POST", "/v1/halts", halt)).status == 200
    found = await admin.get(f"/v1/subscriptions/{made['subscriptions']}/effective")
    quantity = found["settings"]["quantity"]
    assert (quantity["use_signal"], quantity["use_signal_source"]) == (False, "subscription")
    assert (quantity["value"], quantity["source"]) == ("2", "group")
    assert found["settings"]["direction"] == {"value": "long", "source": "strategy"}
    assert found["settings"]["rounding"]["source"] == "product"
    assert found["limits"]["max_order_quantity"] == {"value": "3", "source": "group"}
    assert (found["states"]["trading"], found["states"]["source"]) == ("reducing", "strategy")
    strategy = await admin.get(f"/v1/strategies/{made['strategies']}")
    assert found["version"] == strategy["version"]
    theirs = await furnish(api, "other")
    address = f"/v1/subscriptions/{theirs['subscriptions']}/effective"
    assert (await admin("GET", address)).status == 404
