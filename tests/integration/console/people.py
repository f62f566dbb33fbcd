"""People of a house at a real browser: invited, with a password, signed in, and with a second factor.

Nothing here looks at words, so it works in each language.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pyotp
from playwright.async_api import Page, expect

from tests.integration.console.browser import Looker, looking
from tests.integration.console.house import PASSWORD, TENANT, House


def next_step() -> int:
    """A moment of the app's next code: that of this half minute was used to enrol."""
    return int(time.time()) + 30


async def set_password(page: Page) -> None:
    await expect(page.locator("#invitation")).not_to_have_value("")
    assert "invitation" not in page.url, "the token is to leave the browser's history"
    await page.fill("#password", PASSWORD)
    await page.fill("#again", PASSWORD)
    await page.locator("main form button").click()
    await expect(page.locator(".notice.good")).to_be_visible()


async def sign_in(page: Page, email: str, password: str = PASSWORD, tenant: str = TENANT) -> None:
    await page.fill("#tenant", tenant)
    await page.fill("#email", email)
    await page.fill("#password", password)
    await page.locator("#sign-in button").click()


async def come_in(looker: Looker, email: str, link: str, tenant: str = TENANT) -> Page:
    """The whole way of whose roles need a second factor, from the invitation's link to their own page."""
    page = await looker.open(link)
    await set_password(page)
    await sign_in(page, email, tenant=tenant)
    await page.locator("form[action$=totp] button").click()
    secret = (await page.locator(".secret").inner_text()).strip()
    await page.fill("#code", pyotp.TOTP(secret).now())
    await page.locator("main form button").click()
    await expect(page.locator(".notice.good")).to_be_visible()
    return page


@asynccontextmanager
async def on_a_phone(home: House, looker: Looker, name: str, *roles: str) -> AsyncIterator[Page]:
    """Somebody else, in Chinese and in the dark; what they met with is among the first one's complaints."""
    chromium = looker.context.browser
    assert chromium is not None
    async with looking(chromium, home.base, width=375, tongue="zh_Hant", dark=True) as phone:
        yield await come_in(phone, *await home.invite(name, *roles))
        looker.complaints += phone.complaints
