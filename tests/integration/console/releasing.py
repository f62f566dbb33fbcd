"""The kill switch's other acts and what ends them, a hold that two people release, a key that is taken away."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page, expect

from tests.integration.console.browser import Looker
from tests.integration.console.house import House
from tests.integration.console.people import on_a_phone
from tests.integration.console.steering import EXIT, SIGNAL, closed, sent

SWITCH = "/console/kill-switch"


async def walk_flatten(home: House, looker: Looker, page: Page) -> None:
    """One account is closed out from its own page; the page says so while it happens, and what is left."""
    api, account = home.acme.api, home.accounts["Client 6"]
    await closed(home)
    await sent(home, SIGNAL)
    held = await _held(home, account)
    assert held > 0
    await page.goto(f"{home.base}/console/accounts/{account}")
    await page.locator("main").get_by_role("link", name="Kill switch").click()
    await page.get_by_role("link", name="Close everything").click()
    await expect(page.locator(".does")).to_contain_text(f"{held} position")
    await looker.inspect(page)
    await _throw(page, "Cancel and close everything: Client 6", "the client leaves")
    await expect(page.locator("h1")).to_have_text("Close everything: Client 6")
    await expect(page.locator("#stopped .badge").first).to_have_text("done")
    await expect(_told(page, "Positions closed")).to_have_text(str(held))
    await expect(_told(page, "Positions left")).to_have_text("0")
    await looker.inspect(page)
    assert await _held(home, account) == 0
    assert (await api.get(f"/v1/accounts/{account}"))["state"] == "reducing"
    await _release(page, "it was another client")
    assert await _halted(home) == []
    await closed(home)


async def walk_block_all(home: House, looker: Looker, page: Page) -> None:
    """Nothing of a strategy leaves; it is let go in two steps, and each says how far."""
    await closed(home)
    await sent(home, SIGNAL)
    await page.goto(f"{home.base}{SWITCH}?level=block_all")
    await page.get_by_role("link", name="Send nothing at all: trend").click()
    await expect(page.locator(".does")).to_contain_text("no exit, and no stop loss")
    await looker.inspect(page)
    await _throw(page, "Send nothing at all: trend", "its program runs wild")
    assert await _halted(home) == [("strategy", "halted", "its program runs wild")]
    assert (await sent(home, EXIT))["states"] == {"skipped": 6}, "not even an exit"
    await page.goto(home.base + SWITCH)
    await expect(page.locator("#halts li")).to_contain_text("its program runs wild")
    await looker.inspect(page)
    await page.locator("#halts li", has_text="trend").get_by_role("link", name="Release").click()
    await page.select_option("#state", "reducing")
    await looker.inspect(page)
    await page.fill("#reason", "what is open may go")
    await page.get_by_role("button", name="Release").click()
    await expect(page.locator(".notice.good")).to_contain_text("open nothing")
    assert await _halted(home) == [("strategy", "reducing", "what is open may go")]
    assert (await sent(home, EXIT))["states"] == {"filled": 6}
    assert (await sent(home, SIGNAL))["states"] == {"skipped": 6}
    await _release(page, "it is mended")
    assert await _halted(home) == []
    assert (await sent(home, SIGNAL))["states"] == {"filled": 6}
    await closed(home)


async def walk_instrument(home: House, looker: Looker, page: Page) -> None:
    """One symbol at one broker is stopped by its name, of which nobody had to know an id, and released."""
    await closed(home)
    await page.goto(f"{home.base}{SWITCH}?level=no_open")
    await _name(page, "nobody", "ETH_USDT")
    await expect(page.locator("main")).to_contain_text("'nobody' is none of")
    await page.goto(f"{home.base}{SWITCH}?level=no_open")
    await _name(page, "paper", "ETH_USDT")
    await expect(page.locator("h1")).to_have_text("Open nothing more: paper ETH_USDT")
    await expect(page.locator(".does")).to_contain_text("0 positions stay")
    await looker.inspect(page)
    await _throw(page, "Open nothing more: paper ETH_USDT", "its prices stand still")
    await expect(page.locator("h1")).to_have_text("Open nothing: paper ETH_USDT")
    await looker.inspect(page)
    assert await _halted(home) == [("instrument", "reducing", "its prices stand still")]
    assert (await sent(home, SIGNAL))["states"] == {"skipped": 6}
    await page.goto(home.base + SWITCH)
    await expect(page.locator("#halts li")).to_contain_text("paper ETH_USDT")
    await page.locator("#halts li").get_by_role("link", name="Release").click()
    await looker.inspect(page)
    await page.fill("#reason", "they move again")
    await page.get_by_role("button", name="Release").click()
    await expect(page.locator(".notice.good")).to_have_text("It may trade again.")
    assert await _halted(home) == []
    assert (await sent(home, SIGNAL))["states"] == {"filled": 6}
    await closed(home)


async def walk_hold(home: House, looker: Looker, page: Page) -> None:
    """Records are held as soon as one asks for it, and until a second person agrees to let them go."""
    subject = f"account:{home.accounts['Client 5']}"
    await page.goto(f"{home.base}/console/evidence/holds")
    form = page.locator("form[action$=holds]")
    await form.locator("[name=reason]").fill("the regulator asks")
    await form.locator("[name=subject]").fill(subject)
    await form.get_by_role("button").click()
    await expect(page.locator(".notice.good")).to_contain_text("A second person has to agree.")
    card = page.locator("section.card", has_text=subject)
    await expect(card).to_contain_text("not yet")
    assert await card.get_by_role("button").count() == 0, "what waits is rejected, not released"
    async with on_a_phone(home, looker, "Axel", "approver") as phone:
        await _agree(home, looker, phone, "the regulator asks")
        await page.goto(f"{home.base}/console/evidence/holds")
        await card.locator("[name=reason]").fill("the regulator is content")
        await looker.inspect(page)
        await card.get_by_role("button", name="Ask to release it").click()
        await expect(page.locator(".notice.good")).to_contain_text("A second person has to agree.")
        assert (await _hold(home, subject))["released_at"] is None, "one person is not enough"
        await _agree(home, looker, phone, "the regulator is content")
    hold = await _hold(home, subject)
    assert hold["released_at"] is not None
    assert hold["approved_by"]["id"] != hold["placed_by"]["id"]
    await page.reload()
    await expect(card.locator(".badge")).to_have_text("released")
    await looker.inspect(page)


async def walk_credential(home: House, looker: Looker, page: Page, account: str) -> None:
    """A key that signs is revoked: nothing is signed with it any more, from the next signal on."""
    api = home.acme.api
    await page.goto(f"{home.base}/console/accounts/{account}/credential")
    await expect(page.locator("main .badge").first).to_have_text("in force")
    await looker.inspect(page)
    await page.get_by_role("button", name="Revoke").click()
    await expect(page.locator(".notice.good")).to_have_text("The credential is revoked.")
    await looker.inspect(page)
    found = await api.get(f"/v1/accounts/{account}/credential")
    assert (found["state"], found["api_key"]) == ("missing", None)
    await page.goto(f"{home.base}/console/accounts/{account}/credential")
    assert await page.get_by_role("button", name="Revoke").count() == 0
    await looker.inspect(page)


async def _throw(page: Page, button: str, reason: str) -> None:
    await page.fill("#reason", reason)
    await page.get_by_role("button", name=button).click()
    await expect(page.locator(".notice.good")).to_have_text("It is stopped.")


async def _release(page: Page, reason: str) -> None:
    await page.locator("main").get_by_role("link", name="Release").first.click()
    await page.fill("#reason", reason)
    await page.get_by_role("button", name="Release").click()
    await expect(page.locator(".notice.good")).to_have_text("It may trade again.")


async def _name(page: Page, broker: str, symbol: str) -> None:
    form = page.locator("form.filters", has=page.locator("[name=symbol]"))
    await form.locator("[name=broker]").fill(broker)
    await form.locator("[name=symbol]").fill(symbol)
    await form.get_by_role("button").click()


def _told(page: Page, label: str) -> Any:
    """The figure under that label."""
    return page.locator("#stopped .tally div", has_text=label).locator("dd")


async def _held(home: House, account: str) -> int:
    return len((await home.acme.api.get("/v1/positions", account_id=account))["items"])


async def _halted(home: House) -> list[tuple[str, str, str]]:
    found = (await home.acme.api.get("/v1/halts"))["items"]
    return [(one["scope"], one["state"], one["reason"]) for one in found]


async def _hold(home: House, subject: str) -> dict[str, Any]:
    holds = (await home.acme.api.get("/v1/audit/holds"))["items"]
    return next(one for one in holds if one["subject"] == subject)


async def _agree(home: House, looker: Looker, phone: Page, reason: str) -> None:
    """The second person finds it among the approvals, reads what would change, and says yes."""
    await phone.goto(f"{home.base}/console/approvals")
    card = phone.locator(".asks > li", has_text=reason)
    await expect(card.locator("h3")).to_contain_text("紀錄保全")
    await card.locator("a.button.primary").click()
    await expect(phone.locator("h1")).to_contain_text("紀錄保全")
    await looker.inspect(phone)
    await phone.locator("button[value=approve]").click()
    await expect(phone.locator(".notice.good")).to_have_text("您已同意。")
    await looker.inspect(phone)
