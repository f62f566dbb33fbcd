"""From an empty house to the first paper signal, as the set-up page leads somebody who has never been there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec
from playwright.async_api import Page, expect

from tests.integration.console.browser import Looker
from tests.integration.console.people import come_in


class Step(msgspec.Struct, frozen=True):
    """What was done, and how long it took from press to the next page, in seconds."""

    name: str
    took_s: float


Clock = Callable[[], float]


class Guide:
    """The steps as they are taken. `pace_s`: how long somebody reads before each of them."""

    def __init__(self, page: Page, pace_s: float = 0.0, clock: Clock = time.monotonic) -> None:
        self.page, self.pace_s, self.clock = page, pace_s, clock
        self.steps: list[Step] = []

    async def press(self, form: str, done: str) -> None:
        """Send that form as it stands, and wait until what it leads to is seen."""
        await asyncio.sleep(self.pace_s)  # a reader's time: 0 in tests
        began = self.clock()
        await self.page.locator(f'form[action*="{form}"]').get_by_role("button").click()
        await expect(self.page.locator(done).first).to_be_visible()
        self.steps.append(Step(form, self.clock() - began))


async def first_signal(
    looker: Looker, email: str, link: str, tenant: str, pace_s: float = 0.0
) -> list[Step]:
    """Invited, with a second factor, five forms: each one as the page has filled it in."""
    began = time.monotonic()
    page = await come_in(looker, email, link, tenant)
    guide = Guide(page, pace_s)
    guide.steps.append(Step("password and second factor", time.monotonic() - began))
    await page.goto(f"{looker.base}/console/set-up")
    await expect(page.locator(".step-mark.done")).to_have_count(0)
    await looker.inspect(page)
    await guide.press("/set-up/strategy", ".step-mark.done")
    await expect(page.locator(".step-mark.done")).to_have_count(1)
    await guide.press("/set-up/account", 'form[action*="/set-up/subscription"]')
    await expect(page.locator(".step-mark.done")).to_have_count(2)
    await looker.inspect(page)
    await guide.press("/set-up/subscription", 'form[action*="/set-up/hook"]')
    await expect(page.locator(".step-mark.done")).to_have_count(3)
    await guide.press("/set-up/hook", "#hook-secret")
    await looker.inspect(page)
    await guide.press("/test", "#summary .badge.signal-done")
    await looker.inspect(page)
    await page.goto(f"{looker.base}/console/set-up")
    await expect(page.locator(".step-mark.done")).to_have_count(5)
    await expect(page.locator("#arrived .notice.good")).to_be_visible()
    await looker.inspect(page)
    return guide.steps
