"""What waits for a person's word: something that was left undone, an order in doubt, a drift."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page, expect

from gateway.console.steering_words import STEERING
from tests.integration.console.browser import Looker
from tests.integration.console.house import House
from tests.integration.console.steering import SIGNAL, closed, ended, lots
from tests.integration.main_job.company import until

WITHIN_S = 60.0


async def walk_dead_letter(home: House, looker: Looker, page: Page) -> None:
    """Left out while its account was paused; looked at first, then sent after all, and once."""
    api, account = home.acme.api, home.accounts["Client 4"]
    await closed(home)
    signal = await _left_out(home, account)
    await page.goto(f"{home.base}/console/dead-letters")
    row = page.locator("tbody tr", has=page.locator(f'a[href$="{signal}"]'))
    await expect(row).to_contain_text("trend")
    await looker.inspect(page)
    await row.get_by_role("link").click()
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page.locator("tbody tr")).to_contain_text("Client 4")
    await looker.inspect(page)
    await page.get_by_role("button", name="See what a replay would do").click()
    would = page.locator("section.card tbody tr")
    await expect(would).to_have_count(1)
    await expect(would).to_contain_text("buy 1 ETH_USDT")
    await looker.inspect(page)
    assert await lots(home, account) == "0", "a preview sends nothing"
    await page.fill("#r-reason", "the account is back")
    await page.get_by_role("button", name="Send it for 1 account").click()
    await expect(page.locator(".notice.good")).to_have_text("Sent: this is the new signal.")
    await expect(page.locator("#summary .badge").first).to_have_text("done")
    await looker.inspect(page)
    replay = page.url.rpartition("/")[2].partition("?")[0]
    assert (await ended(home, replay))["states"] == {"filled": 1, "skipped": 5}, "one is addressed"
    assert await lots(home, account) == "1"
    (dead,) = (await api.get(f"/v1/dead-letters/{signal}"))["items"]
    assert dead["replay_id"] == replay
    await page.goto(f"{home.base}/console/dead-letters/{signal}")
    await expect(page.get_by_role("link", name="It was replayed")).to_be_visible()
    assert await page.get_by_role("button", name="See what a replay would do").count() == 0
    await looker.inspect(page)
    await closed(home)


async def _left_out(home: House, account: str) -> str:
    """A signal that five accounts carried out; the sixth's was paused when it came, and is not any more."""
    api = home.acme.api
    pause = {"scope": "account", "object_id": account, "reason": "a walk"}
    await api.ask("POST", "/v1/halts", pause | {"level": "no_open"})
    signal = str((await home.send.send(**SIGNAL)).signal_id)
    assert (await ended(home, signal))["states"] == {"filled": 5, "skipped": 1}
    await api.ask("POST", "/v1/halts/release", pause)
    return signal


async def walk_doubt(home: House, looker: Looker, page: Page, filled: dict[str, str]) -> None:
    """An order that nobody can tell about shows itself; a person says what the broker has of it.

    `filled`: the facts, as somebody reads them at the broker: id, quantity, average price.
    """
    await page.goto(f"{home.base}/console/doubts")
    row = page.locator("#doubts tbody tr", has_text="ETH_USDT")
    await expect(row).to_contain_text("in doubt")
    await looker.inspect(page)
    await expect(page.locator(".badges .in-doubt")).to_have_text("1 in doubt")
    await row.get_by_role("link").click()
    name = page.url.rpartition("/")[2]
    await expect(page.locator("dl.facts").first).to_contain_text("The broker was asked")
    await page.get_by_label("exists at the broker").check()
    await page.fill("#d-id", filled["broker_order_id"])
    await page.select_option("#d-status", "filled")
    await page.fill("#d-qty", filled["cum_qty"])
    await page.fill("#d-reason", "read at the broker")
    await looker.inspect(page)
    await page.get_by_role("button", name="This is what I saw").click()
    await expect(page.locator(".notice.bad")).to_contain_text("avg_px")
    await expect(page.locator("#d-reason")).to_have_value("read at the broker")
    await page.fill("#d-px", filled["avg_px"])
    await page.get_by_role("button", name="This is what I saw").click()
    await expect(page.locator(".notice.good")).to_contain_text("Your decision is on record.")

    async def carried() -> bool:
        decision = (await home.acme.api.get(f"/v1/doubts/{name}"))["decision"]
        return bool(decision["state"] == "carried" and decision["reason"] == "read at the broker")

    await until(carried, WITHIN_S)
    await page.reload()
    await expect(page.locator("section.card").first).to_contain_text("carried out")
    await expect(page.locator("section.card").first).to_contain_text("read at the broker")
    assert await page.get_by_role("button", name="This is what I saw").count() == 0
    await looker.inspect(page)
    doubt = await home.acme.api.get(f"/v1/doubts/{name}")
    asked = {which: doubt[which] for which in ("signal_id", "account_id")}
    (order,) = (await home.acme.api.get("/v1/orders", **asked))["items"]
    assert (order["status"], order["cum_qty"]) == ("filled", filled["cum_qty"])


async def walk_drift(home: House, looker: Looker, page: Page, account: str, theirs: str) -> None:
    """The broker has other lots than our book, for somebody traded by hand: they are taken over, with a reason."""
    api = home.acme.api

    async def found() -> Any:
        drifts = (await api.get("/v1/drifts", account_id=account, state="open"))["items"]
        return [one for one in drifts if (one["kind"], one["theirs"]) == ("position", theirs)]

    (drift,) = await until(found, WITHIN_S)
    await page.goto(f"{home.base}/console/accounts?drifts=true")
    await page.locator("table.accounts tbody").get_by_role("link").first.click()
    card = page.locator(".asks > li")
    await expect(card).to_contain_text(STEERING["cause"][drift["cause"]])
    await expect(card.locator("dd").nth(1)).to_have_text(theirs)
    await looker.inspect(page)
    await card.get_by_label("What is to be done").select_option("accept")
    await card.locator("[name=reason]").fill("the client bought by telephone")
    await card.get_by_role("button", name="Decide").click()
    await expect(page.locator(".notice.good")).to_contain_text("Decided.")
    await looker.inspect(page)

    async def over() -> bool:
        one = await api.get(f"/v1/drifts/{drift['drift_id']}")
        return bool(one["state"] != "open" and one["decision"]["outcome"] == "done")

    await until(over, WITHIN_S)
    assert await lots(home, account, drift["symbol"]) == theirs
    await page.reload()
    await expect(page.locator(".asks > li")).to_have_count(0)
    await looker.inspect(page)
