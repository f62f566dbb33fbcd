"""Walks through accounts, strategies, approvals and the kill switch, as people take them on the running product.

Each begins and ends with a house where nothing is halted and every subscription is as it was; what a page says is
checked against what the API says.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from playwright.async_api import Page, expect

from tests.integration.console.browser import Looker
from tests.integration.console.house import TENANT, House

SIGNAL: dict[str, Any] = {"ticker": "ETH_USDT", "action": "buy", "quantity": 1, "signalPrice": 3000}
EXIT: dict[str, Any] = {"ticker": "ETH_USDT", "action": "exit"}


async def steering_pages(home: House) -> list[str]:
    """The addresses of all pages of this part, with the ids of what is there."""
    account, strategy = home.accounts["Client 1"], home.strategy
    follows = await home.acme.api.get("/v1/subscriptions", account_id=account)
    one = follows["items"][0]["subscription_id"]
    return [
        "/console/accounts", "/console/accounts?name=nobody", f"/console/accounts/{account}",
        f"/console/accounts/{account}/edit", f"/console/accounts/{account}/credential",
        "/console/strategies", f"/console/strategies/{strategy}", f"/console/strategies/{strategy}/edit",
        f"/console/strategies/{strategy}/preview?ticker=ETH_USDT&action=buy&quantity=2",
        f"/console/subscriptions/{one}", f"/console/subscriptions/{one}/edit", "/console/approvals",
        "/console/kill-switch?level=flatten", f"/console/kill-switch/throw?object_id={account}",
    ]  # fmt: skip


async def walk_kill_switch(home: House, looker: Looker, page: Page) -> None:
    """It says what it will do, asks why, does it; nothing opens any more; the release needs a reason too."""
    api = home.acme.api
    await page.goto(f"{home.base}/console/kill-switch?level=no_open")
    await page.get_by_role("link", name=f"Open nothing more: {TENANT}").click()
    held = await positions(home)
    await expect(page.locator(".does")).to_contain_text(f"{held} position")
    await page.get_by_role("button", name=f"Open nothing more: {TENANT}").click()
    assert (await api.get("/v1/halts"))["items"] == [], "without a reason nothing happens"
    await page.fill("#reason", "prices look wrong")
    await page.get_by_role("button", name=f"Open nothing more: {TENANT}").click()
    await expect(page.locator(".notice.good")).to_have_text("It is stopped.")
    await looker.inspect(page)
    (halt,) = (await api.get("/v1/halts"))["items"]
    assert (halt["scope"], halt["state"], halt["reason"]) == (
        "tenant",
        "reducing",
        "prices look wrong",
    )
    assert halt["intervention_id"] in page.url
    outcome = await sent(home, SIGNAL)
    assert set(outcome["states"]) == {"skipped"}, outcome["states"]
    await page.get_by_role("link", name="Release").first.click()
    await page.fill("#reason", "they were right")
    await page.get_by_role("button", name="Release").click()
    await expect(page.locator(".notice.good")).to_have_text("It may trade again.")
    assert (await api.get("/v1/halts"))["items"] == []


async def walk_account(home: House, looker: Looker, page: Page) -> None:
    """Found by a part of its name, paused with a reason, resumed with another."""
    api, account = home.acme.api, home.accounts["Client 3"]
    await page.goto(f"{home.base}/console/accounts")
    await page.locator("main").get_by_label("Name").fill("ient 3")
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("table.accounts tbody tr")).to_have_count(1)
    await page.get_by_role("link", name="Client 3").click()
    await expect(page.locator("#now")).to_contain_text("100,000 USDT")
    await page.fill("#pause-reason", "the client asked")
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator(".notice.good")).to_have_text("It is stopped.")
    assert (await api.get(f"/v1/accounts/{account}"))["state"] == "reducing"
    await expect(page.locator("main")).to_contain_text("the client asked")
    await looker.inspect(page)
    await page.fill("#resume-reason", "the client is back")
    await page.get_by_role("button", name="Resume").click()
    await expect(page.locator(".notice.good")).to_have_text("It may trade again.")
    assert (await api.get(f"/v1/accounts/{account}"))["state"] == "active"


async def walk_settings(home: House, looker: Looker, page: Page) -> None:
    """One's own setting is marked; of two people the slower is told, and undoes nothing of the faster one's."""
    api = home.acme.api
    account = home.accounts["Client 2"]
    one = (await api.get("/v1/subscriptions", account_id=account))["items"][0]["subscription_id"]
    edit = f"{home.base}/console/subscriptions/{one}/edit"
    slower = await looker.open(f"/console/subscriptions/{one}/edit")
    await page.goto(edit)
    await page.fill("#settings-override_quantity", "2")
    await page.select_option("#settings-override_quantity_type", "multiplier")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("tr.own")).to_have_count(1)
    await expect(page.locator("tr.own")).to_contain_text("2 × the signal's quantity")
    await slower.select_option("#settings-direction", "long")
    await slower.get_by_role("button", name="Save").click()
    await expect(slower.locator(".notice.bad")).to_contain_text("stale_revision")
    await expect(slower.locator("#settings-direction")).to_have_value("long")
    await expect(slower.locator("#settings-override_quantity")).to_have_value("2")
    await slower.get_by_role("button", name="Save").click()
    await expect(slower.locator("tr.own")).to_have_count(2)
    settings = (await api.get(f"/v1/subscriptions/{one}"))["settings"]
    assert settings == {
        "override_quantity": "2", "override_quantity_type": "multiplier", "direction": "long",
    }  # fmt: skip
    await preview_says(home, page)
    await api.change(f"/v1/subscriptions/{one}", {"settings": dict.fromkeys(settings)})
    await slower.close()


async def preview_says(home: House, page: Page) -> None:
    """Six accounts, one of them twice the size, in the table and in the picture; nothing was sent."""
    before = len((await home.acme.api.get("/v1/signals"))["items"])
    await page.goto(f"{home.base}/console/strategies/{home.strategy}/preview")
    await page.fill("#ticker", "ETH_USDT")
    await page.fill("#quantity", "3")
    await page.fill("#signalPrice", "3000")
    await page.get_by_role("button", name="Preview").click()
    rows = page.locator("table tbody tr", has_text=re.compile("^Client"))
    await expect(rows).to_have_count(6)
    await expect(page.locator("tr", has_text="Client 2")).to_contain_text("buy 6 ETH_USDT")
    heights = await page.locator(".columns rect").evaluate_all(
        "(all) => all.map((one) => Number(one.getAttribute('height')))"
    )
    assert sorted(heights) == [50.0] * 5 + [100.0]
    assert len((await home.acme.api.get("/v1/signals"))["items"]) == before


async def walk_approvals(home: House, looker: Looker, page: Page) -> None:
    """A signal that waits: one account is refused, the others agreed, and only theirs are sent."""
    api, strategy = home.acme.api, f"/v1/strategies/{home.strategy}"
    await api.change(strategy, {"settings": {"needs_approval": True}})
    answer = await home.send.send(**SIGNAL)
    await page.goto(f"{home.base}/console/approvals")
    card = page.locator(".asks > li", has=page.locator(f'a[href$="{answer.signal_id}"]'))
    await expect(card).to_contain_text("6 accounts wait")
    await looker.inspect(page)
    await card.get_by_role("link", name="ETH_USDT").click()
    first = page.locator(".asks > li").first
    refused = (await first.get_by_role("heading").inner_text()).partition(" wait")[0].strip()
    await first.get_by_role("button", name="Reject").click()
    await page.fill("#comment", "agreed on the telephone")
    await page.get_by_role("button", name="Approve all 5").click()
    await expect(page.locator(".approval-approved")).to_have_count(5)
    await looker.inspect(page)
    said = (await api.get("/v1/approvals", signal_id=str(answer.signal_id)))["items"]
    assert {one["account"] for one in said if one["state"] == "rejected"} == {refused}
    assert {one["comment"] for one in said if one["state"] == "approved"} == {
        "agreed on the telephone"
    }
    outcome = await ended(home, str(answer.signal_id))
    assert (outcome["states"].get("declined"), outcome["states"].get("filled")) == (1, 5)
    await api.change(strategy, {"settings": {"needs_approval": None}})


async def walk_four_eyes(home: House, looker: Looker, page: Page) -> None:
    """A looser limit becomes a proposal that says what would change; whoever asked can only take it back."""
    api, strategy = home.acme.api, f"/v1/strategies/{home.strategy}"
    await api.change(strategy, {"limits": {"max_order_quantity": "50"}})
    await api.change("/v1/tenant", {"settings": {"four_eyes": ["limits"]}})
    await page.goto(f"{home.base}/console/strategies/{home.strategy}/edit")
    await page.fill("#limits-max_order_quantity", "500")
    await page.fill("#reason", "a larger client")
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator(".notice.good")).to_contain_text("A second person has to agree.")
    await expect(page.locator("table.diff")).to_contain_text("limits.max_order_quantity")
    assert await page.locator("del").inner_text() == "50"
    assert await page.locator("ins").inner_text() == "500"
    await expect(page.locator("main")).to_contain_text("a larger client")
    assert await page.get_by_role("button", name="Approve").count() == 0
    await looker.inspect(page)
    assert (await api.get(strategy))["limits"] == {"max_order_quantity": "50"}
    await page.get_by_role("button", name="Withdraw").click()
    await expect(page.locator("main .badge").first).to_have_text("withdrawn")


async def lots(home: House, account: str, symbol: str = "ETH_USDT") -> str:
    """What the account holds of it."""
    found = (await home.acme.api.get("/v1/positions", account_id=account))["items"]
    return next((one["qty"] for one in found if one["symbol"] == symbol), "0")


async def positions(home: House) -> int:
    return len((await home.acme.api.get("/v1/positions"))["items"])


async def sent(home: House, signal: dict[str, Any]) -> dict[str, Any]:
    """What became of a signal that is sent now."""
    return await ended(home, str((await home.send.send(**signal)).signal_id))


async def closed(home: House) -> None:
    """Nobody holds any of it: the next buy is an order for each account."""
    await sent(home, EXIT)


async def ended(home: House, signal: str) -> dict[str, Any]:
    """A signal's outcome, once there is nothing more to come."""
    async with asyncio.timeout(60):
        while True:
            outcome: dict[str, Any] = await home.acme.api.get(f"/v1/signals/{signal}/outcome")
            if outcome["state"] in ("done", "refused"):
                return outcome
            await asyncio.sleep(0.1)  # the next look
