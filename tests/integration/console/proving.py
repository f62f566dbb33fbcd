"""Set-up, sender, evidence, holds and the operators' page, walked by people in a real browser."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.async_api import Page, expect

from audit.export.check import verify_package
from audit.verdict import OK
from tests.integration.console.browser import Looker
from tests.integration.console.house import TENANT, House

PAGES = (
    "/console/set-up", "/console/evidence", "/console/evidence/exports", "/console/evidence/holds",
    "/console/evidence/retention", "/console/reports", "/console/reports?kind=execution",
    "/console/doubts", "/console/dead-letters",
)  # fmt: skip


async def walk(looker: Looker, home: House) -> None:
    """An administrator of the customer: sets up, sends a test signal, finds its records and verifies one."""
    page = await looker.open("/console/set-up")
    await _set_up(page)
    signal = page.url.rpartition("/")[2].partition("?")[0]
    await expect(page.locator(".notice.good")).to_contain_text("The test signal came through.")
    await expect(page.locator("#summary .badge").first).to_have_text("done")
    await looker.inspect(page)
    await page.goto(f"{home.base}/console/set-up?strategy_id={await _strategy_of(home, signal)}")
    await expect(page.locator("#arrived .notice.good")).to_contain_text("It works")
    await _sender(page, looker)
    await _evidence(page, looker, home, signal)
    await _hold(page, looker, home)
    await _export(page, looker, home)


async def _set_up(page: Page) -> None:
    """A second strategy, for the house has one already."""
    await _another_strategy(page, "walked")
    await page.get_by_role("button", name="Make the address").click()
    secret = (await page.locator("#hook-secret").inner_text()).strip()
    assert secret.startswith("whsec_")
    await page.locator(".test-signal button").click()
    await page.wait_for_url("**/console/signals/**")


async def _another_strategy(page: Page, name: str) -> None:
    """Up to the step in which its hook is made."""
    await page.get_by_text("Another strategy").click()
    await page.fill("#s-name", name)
    await page.get_by_role("button", name="Make the strategy").click()
    await expect(page.locator(".steps li").first).to_contain_text(name)
    await page.get_by_role("button", name="Let it follow").click()
    await expect(page.locator(".steps li").nth(2)).to_contain_text("1 account follows it.")


async def _strategy_of(home: House, signal: str) -> str:
    story: dict[str, Any] = await home.acme.api.get(f"/v1/signals/{signal}")
    return str(story["strategy_id"])


async def _sender(page: Page, looker: Looker) -> None:
    """The sender's page says what was asked for, and no secret."""
    await page.get_by_role("link", name="TradingView message").click()
    form = page.locator("form.filters")
    await form.locator("[name=action]").select_option("sell")
    await form.locator("[name=quantity]").fill("3")
    await form.get_by_role("button").click()
    await expect(page.locator("#curl-line")).to_contain_text('"action":"sell","quantity":"3"')
    await expect(page.locator("#pine")).to_contain_text('"action":"sell"')
    assert "whsec_" not in (await page.locator("#curl-line").inner_text()).replace(
        "whsec_…", ""
    ).replace("whsec_}", "")
    await looker.inspect(page)


async def _evidence(page: Page, looker: Looker, home: House, signal: str) -> None:
    """The signal's records; one is verified here, and a forged one is found out."""
    await page.goto(f"{home.base}/console/evidence?signal_id={signal}")
    await expect(page.locator("tbody")).to_contain_text("signal planned")
    await looker.inspect(page)
    await page.locator("tbody th a").last.click()
    await _verify(page)
    await expect(page.locator("#verify-verdict")).to_have_text("Verified by this browser.")
    for step in ("signature", "inclusion", "commitment", "consistency"):
        await expect(page.locator(f"[data-step={step}]")).to_have_attribute("data-state", "well")
    await looker.inspect(page)

    index = page.url.rpartition("/")[2]
    content = await page.evaluate(f"fetch('/v1/audit/records/{index}').then((one) => one.json())")
    forged = content | {"leaf": content["leaf"].replace('"v":1', '"v":2')}

    async def forge(route: Any) -> None:
        await route.fulfill(json=forged)

    await page.route("**/v1/audit/records/*", forge)
    await _verify(page)
    await expect(page.locator("[data-step=inclusion]")).to_have_attribute("data-state", "wrong")
    await expect(page.locator("#verify-verdict")).to_contain_text("does not verify")
    await page.unroute("**/v1/audit/records/*")


async def _verify(page: Page) -> None:
    button = page.locator("button[data-verify]")
    await expect(page.locator("#verify-verdict")).to_be_attached()
    await button.click()
    await expect(button).to_be_enabled()


async def _hold(page: Page, looker: Looker, home: House) -> None:
    """A hold is asked for, and holds while it waits for a second person; a wrong form keeps what was typed."""
    await page.goto(f"{home.base}/console/evidence/holds")
    form = page.locator("form[action$=holds]")
    await form.locator("[name=reason]").fill("a walk")
    await form.locator("[name=subject]").fill("tenant")
    await form.get_by_role("button").click()
    await expect(page.locator("main")).to_contain_text("a walk")
    await looker.inspect(page)


async def _export(page: Page, looker: Looker, home: House) -> None:
    """Asked for, seen to be made without looking again, taken away, and checked by the verifier that is in it."""
    await page.goto(f"{home.base}/console/evidence/exports")
    form = page.locator("form[action$=exports]")
    await form.locator("[name=reason]").fill("an examination")
    await form.locator("[name=accounts]").fill("no id at all")
    await form.get_by_role("button").click()
    await expect(page.locator(".notice.bad")).to_be_visible()
    await expect(form.locator("[name=reason]")).to_have_value("an examination")
    await form.locator("[name=accounts]").fill("")
    await form.get_by_role("button").click()
    row = page.locator("tbody tr", has_text="an examination")
    await expect(row).to_contain_text("ready")
    await looker.inspect(page)
    async with page.expect_download() as coming:
        await row.get_by_role("link", name="Download").click()
    file = await (await coming.value).path()
    asked = (await home.acme.api.get("/v1/audit/exports"))["items"][0]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == asked["sha256"]
    with TemporaryDirectory() as there:
        package = Path(there)
        with zipfile.ZipFile(file) as packed:
            packed.extractall(package)
        found = verify_package(package, (package / "vkey").read_text())
    assert (found.verdict.code, found.complete) == (OK, (0, asked["records"]))


async def walk_tradingview(home: House, looker: Looker, page: Page) -> None:
    """A sender that cannot sign: its token is shown once, and a test says what it proves and what it cannot."""
    await page.goto(f"{home.base}/console/set-up")
    await _another_strategy(page, "alerted")
    await page.get_by_label("TradingView, which cannot sign").check()
    await page.get_by_role("button", name="Make the address").click()
    token = (await page.locator("#hook-address").inner_text()).strip().rpartition("/")[2]
    assert len(token) == 43
    await looker.inspect(page)
    await page.locator(".test-signal button").click()
    await expect(page.locator(".notice")).to_contain_text("The token is right")
    await expect(page.locator("#tv-message")).to_contain_text("{{strategy.order.action}}")
    await looker.inspect(page)
    await page.fill("#t-secret", "x" * 43)
    await page.locator(".test-signal button").click()
    await expect(page.locator(".notice.bad")).to_contain_text("The public listener answered 401.")
    hook = page.url.split("/")[-2]
    strategy = (await home.acme.api.get(f"/v1/hooks/{hook}"))["strategy_id"]
    assert (await home.acme.api.get("/v1/signals", strategy_id=strategy))["items"] == []
    await _from_here(home, looker, page, strategy)


async def _from_here(home: House, looker: Looker, page: Page, strategy: str) -> None:
    """Of a hook that takes alerts from this host, the test is a signal like any other."""
    made = await home.acme.api.make("/v1/hooks", {
        "strategy_id": strategy, "name": "here", "sender": "tradingview",
        "sources": ["127.0.0.0/8", "::1/128"],
    })  # fmt: skip
    await page.goto(f"{home.base}/console/hooks/{made['hook_id']}/sender")
    await page.fill("#t-secret", made["secret"])
    await page.locator(".test-signal button").click()
    await expect(page.locator(".notice.good")).to_have_text("The test signal came through.")
    await expect(page.locator("#summary .badge").first).to_have_text("done")
    await looker.inspect(page)
    assert made["secret"] not in await page.content()


async def operate(looker: Looker, home: House) -> None:
    """One of the platform's people: what runs, what is left, and no tenant's trading."""
    page = await looker.open("/console/")
    assert page.url == f"{home.base}/console/operators"
    await expect(page.locator("#operators")).to_contain_text("worker-0")
    await expect(page.locator("#operators")).to_contain_text("396")
    await expect(page.locator("tbody tr", has_text=TENANT)).to_contain_text("customer")
    await expect(page.locator("nav.menu a")).to_have_text(
        ["Approvals", "Kill switch", "Evidence", "Operators"]
    )
    await looker.inspect(page)
    await page.goto(f"{home.base}/console/accounts")
    await expect(page.locator("main")).to_contain_text("You may not do that.")
    await page.goto(f"{home.base}/console/evidence")
    await expect(page.locator("tbody")).to_contain_text("change of settings")
    await looker.inspect(page)
    await page.goto(f"{home.base}/console/kill-switch")
    whole = page.locator("a.stop")
    await expect(whole).to_contain_text("the whole platform · 1 customer")
    await looker.inspect(page)
    await whole.click()
    await expect(page.locator(".does")).to_contain_text("It holds for 1 customer.")
    await looker.inspect(page)
