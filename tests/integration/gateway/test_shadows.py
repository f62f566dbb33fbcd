"""Shadows over the API: made for a live subscription alone, without settings of their own, ended with it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.fixtures.api import Api, Client

pytestmark = pytest.mark.stack


async def live(api: Api, **account: Any) -> tuple[Client, dict[str, Any], dict[str, Any]]:
    """A subscription of an account at a real broker."""
    admin = api.as_("admin")
    strategy = await admin.make("/v1/strategies", name="trend")
    made = await admin.make(
        "/v1/accounts",
        **{"name": "Kim", "broker": "gateio", "currency": "USDT", "leverage": "3", **account},
    )
    settings = {"override_quantity": "2", "override_quantity_type": "multiplier"}
    subscription = await admin.make(
        "/v1/subscriptions", strategy_id=strategy["strategy_id"], account_id=made["account_id"],
        settings=settings,
    )  # fmt: skip
    return admin, made, subscription


async def shadowed(api: Api) -> tuple[Client, dict[str, Any], dict[str, Any], dict[str, Any]]:
    admin, account, subscription = await live(api, stated_equity="500")
    shadow = await shadow_of(admin, subscription)
    return admin, account, subscription, shadow


def address(subscription: dict[str, Any]) -> str:
    return f"/v1/subscriptions/{subscription['subscription_id']}/shadow"


async def shadow_of(client: Client, subscription: dict[str, Any]) -> dict[str, Any]:
    reply = await client("POST", address(subscription))
    assert reply.status == 201, reply
    made: dict[str, Any] = reply.json()
    return made


def sql(api: Api, statement: str, *values: Any) -> None:
    with psycopg.connect(api.database.superuser) as conn:
        conn.execute(statement.encode(), values)


async def test_a_shadow_is_a_paper_account_of_the_same_worth_and_a_subscription_that_names_its_twin(
    api,
):
    admin, account, subscription, shadow = await shadowed(api)
    assert shadow["shadow_of"] == subscription["subscription_id"]
    assert shadow["settings"] == {}
    own = await admin.get(f"/v1/accounts/{shadow['account_id']}")
    assert {name: own[name] for name in ("name", "broker", "currency", "stated_equity", "leverage")} == {
        "name": "Kim (shadow)", "broker": "shadow-gateio", "currency": "USDT",
        "stated_equity": "500", "leverage": "3",
    }  # fmt: skip
    assert (own["shadow_of"], own["live"]) == (account["account_id"], False)
    assert account["live"] is True


async def test_what_the_broker_tells_comes_before_what_is_stated(api):
    admin, account, subscription = await live(api, stated_equity="500")
    sql(
        api,
        "INSERT INTO balances (account_id, tenant_id, equity, available, currency, as_of)"
        " VALUES (%s, %s, 731.5, 1, 'USDT', now())",
        account["account_id"], api.tenant("admin"),
    )  # fmt: skip
    shadow = await shadow_of(admin, subscription)
    assert (await admin.get(f"/v1/accounts/{shadow['account_id']}"))["stated_equity"] == "731.5"


async def test_without_any_equity_it_says_what_is_missing(api):
    admin, _, subscription = await live(api)
    reply = await admin("POST", address(subscription))
    assert reply.status == 422
    assert "stated_equity" in reply.json()["detail"]
    assert len((await admin.get("/v1/accounts"))["items"]) == 1


async def test_what_holds_for_the_shadow_is_what_holds_for_its_twin(api):
    admin, _, subscription, shadow = await shadowed(api)
    of = [
        await admin.get(f"/v1/subscriptions/{one['subscription_id']}/effective")
        for one in (subscription, shadow)
    ]
    assert of[0] == of[1]


@pytest.mark.parametrize("which", ["again", "of a shadow", "of paper"])
async def test_one_shadow_for_each_live_subscription_and_none_for_others(api, which):
    admin, _, subscription, shadow = await shadowed(api)
    paper = await admin.make(
        "/v1/accounts", name="p", broker="paper", currency="USDT", stated_equity="1"
    )
    on_paper = await admin.make(
        "/v1/subscriptions", strategy_id=subscription["strategy_id"], account_id=paper["account_id"]
    )
    asked, status = {
        "again": (subscription, 409), "of a shadow": (shadow, 409), "of paper": (on_paper, 422),
    }[which]  # fmt: skip
    reply = await admin("POST", address(asked))
    assert reply.status == status, reply


async def test_a_shadow_is_not_made_live_and_has_no_settings_of_its_own(api):
    admin, _, _, shadow = await shadowed(api)
    account = f"/v1/accounts/{shadow['account_id']}"
    group = await admin.make("/v1/groups", name="g")
    for path, patch in (
        (account, {"broker": "gateio"}),
        (account, {"limits": {"max_order_quantity": "1"}}),
        (account, {"group_id": group["group_id"]}),
        (f"/v1/subscriptions/{shadow['subscription_id']}", {"priority": 3}),
        (f"/v1/subscriptions/{shadow['subscription_id']}", {"settings": {"invert": True}}),
    ):
        reply = await admin.change(path, "*", **patch)
        assert reply.status == 422, (patch, reply)
    assert (await admin.change(account, "*", stated_equity="900")).status == 200
    off = await admin.change(f"/v1/subscriptions/{shadow['subscription_id']}", "*", enabled=False)
    assert off.status == 200


async def test_nobody_makes_an_account_where_shadows_are(api):
    reply = await api.as_("admin")(
        "POST", "/v1/accounts", {"name": "x", "broker": "shadow-gateio", "currency": "USDT"}
    )
    assert reply.status == 422


async def test_a_shadow_follows_no_other_strategy(api):
    admin, _, _, shadow = await shadowed(api)
    other = await admin.make("/v1/strategies", name="other")
    body = {"strategy_id": other["strategy_id"], "account_id": shadow["account_id"]}
    reply = await admin("POST", "/v1/subscriptions", body)
    assert reply.status == 422
    assert "a_shadow_follows_its_twin_alone" in reply.json()["detail"]


@pytest.mark.parametrize("whose", ["the live one's", "its own"])
async def test_it_ends_with_its_twin_or_alone_whatever_it_holds(api, whose):
    admin, _, subscription, shadow = await shadowed(api)
    sql(
        api,
        "INSERT INTO positions (account_id, strategy_id, symbol, tenant_id, qty, avg_px, updated_at)"
        " VALUES (%s, %s, 'BTC_USDT', %s, 4, 10, now())",
        shadow["account_id"], subscription["strategy_id"], api.tenant("admin"),
    )  # fmt: skip
    ended = subscription if whose == "the live one's" else shadow
    reply = await admin.delete(f"/v1/subscriptions/{ended['subscription_id']}")
    assert reply.status == 204, reply
    left = [one["subscription_id"] for one in (await admin.get("/v1/subscriptions"))["items"]]
    assert left == ([] if ended is subscription else [subscription["subscription_id"]])
    names = [one["name"] for one in (await admin.get("/v1/accounts"))["items"]]
    assert names == ["Kim"]
    history = (await admin.get(f"/v1/accounts/{shadow['account_id']}/revisions"))["items"]
    assert history[0]["after"] is None
    if ended is shadow:  # and may be made anew
        assert (await shadow_of(admin, subscription))["shadow_of"] in left


async def test_a_strategy_moves_on_with_its_shadows(api):
    """The next plan knows: the version counts a shadow's coming, change and end."""
    admin, _, subscription = await live(api, stated_equity="500")
    path = f"/v1/strategies/{subscription['strategy_id']}"
    seen = [(await admin.get(path))["version"]]
    shadow = await shadow_of(admin, subscription)
    seen.append((await admin.get(path))["version"])
    await admin.change(f"/v1/accounts/{shadow['account_id']}", "*", stated_equity="900")
    seen.append((await admin.get(path))["version"])
    await admin.delete(f"/v1/subscriptions/{shadow['subscription_id']}")
    seen.append((await admin.get(path))["version"])
    assert seen == sorted(set(seen))


async def test_shadows_are_no_part_of_the_declared_configuration(api):
    admin, _, _, _ = await shadowed(api)
    document = await admin.get("/v1/configuration")
    assert [one["name"] for one in document["accounts"]] == ["Kim"]
    assert len(document["subscriptions"]) == 1
    # A file that does not mention the live one ends it, and its shadow.
    document["subscriptions"], document["accounts"] = [], []
    reply = await admin("PUT", "/v1/configuration?prune=true", document, {"if-match": "*"})
    assert reply.status == 200, reply
    assert (await admin.get("/v1/accounts"))["items"] == []
    assert (await admin.get("/v1/subscriptions"))["items"] == []


async def test_without_a_shadow_there_is_no_report_and_a_wrong_period_is_named(api):
    admin, _, subscription = await live(api, stated_equity="500")
    reply = await admin("GET", f"{address(subscription)}/report")
    assert reply.status == 404
    await shadow_of(admin, subscription)
    report = await admin.get(f"{address(subscription)}/report")
    assert (report["signals"], report["worse_bps"]) == ([], {"mean": None, "n": 0})
    wrong = "since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z"
    assert (await admin("GET", f"{address(subscription)}/report?{wrong}")).status == 422


async def test_another_tenants_subscription_is_nobodys(api):
    _, _, subscription = await live(api, stated_equity="500")
    other = api.as_("other")
    assert (await other("POST", address(subscription))).status == 404
    assert (await other("GET", f"{address(subscription)}/report")).status == 404


async def test_the_database_itself_keeps_a_shadow_what_it_is(api):
    """Under the role of the admin process' own statements, too: nothing but a bug would try."""
    _, _, _, shadow = await shadowed(api)
    for statement in (
        "UPDATE accounts SET shadow_of = NULL WHERE account_id = %s",
        "UPDATE accounts SET broker = 'gateio' WHERE account_id = %s",
    ):
        with pytest.raises(psycopg.Error):
            sql(api, statement, shadow["account_id"])
    with pytest.raises(psycopg.errors.RaiseException):
        sql(
            api, "UPDATE subscriptions SET shadow_of = NULL WHERE subscription_id = %s",
            UUID(shadow["subscription_id"]),
        )  # fmt: skip
