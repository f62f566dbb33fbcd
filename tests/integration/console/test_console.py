"""The console in a real browser, on the running product: people come in, look, steer, and go.

One installation for the whole file. Every page that a test opens is watched: a line in the browser's console, a
violation of the content security policy, of WCAG as axe knows it, or a page that scrolls sideways fails the test.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pyotp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from ops.platform import NAME as PLATFORM
from tests.integration.console import deciding, proving, releasing, steering
from tests.integration.console.browser import Looker, Tongue, Width, browser, looking
from tests.integration.console.house import PASSWORD, House, house
from tests.integration.console.people import come_in, next_step, set_password, sign_in

pytestmark = [
    pytest.mark.slow, pytest.mark.stack, pytest.mark.asyncio(loop_scope="module"),
]  # fmt: skip
SCREENS = [
    pytest.param(1440, "en", False, marks=pytest.mark.longer), pytest.param(375, "zh_Hant", True),
]  # fmt: skip
"""The walks look at what they meet at 1,440 px; `python -m tests.longer.console_pictures` takes all four."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("c") / "var") as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(home: House) -> AsyncIterator[Browser]:
    async with browser(home.base) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(home: House, chromium: Browser) -> Any:
    """The cookies of an administrator who has come in the whole way: invited, with a second factor."""
    async with looking(chromium, home.base) as looker:
        looker.expected = {401}
        email, link = await home.invite("Ada", "admin")
        page = await looker.open(link)
        await set_password(page)
        await sign_in(page, email, "not the password at all")
        await expect(page.locator(".notice.bad")).to_contain_text("login_failed")
        await sign_in(page, email, PASSWORD)
        await expect(page.locator("h1")).to_have_text("A second factor")
        await looker.inspect(page)
        secret = await enrol_app(page, looker)
        await page.get_by_role("button", name="Make ten new ones").click()
        assert len(set(await page.locator(".codes code").all_inner_texts())) == 10
        await looker.inspect(page)
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.locator(".notice.good")).to_be_visible()
        await sign_in(page, email, PASSWORD)
        await page.fill("#code", pyotp.TOTP(secret).at(next_step()))
        await page.get_by_role("button", name="Go on").click()
        await expect(page.locator("h1")).to_have_text("Now")
        assert looker.complaints == []
        return await looker.context.storage_state()


async def enrol_app(page: Page, looker: Looker) -> str:
    await page.locator("form[action$=totp] button").click()
    secret = (await page.locator(".secret").inner_text()).strip()
    assert await page.locator(".qr").evaluate("one => one.complete && one.naturalWidth > 100")
    await looker.inspect(page)
    await page.fill("#code", "000000")
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.locator(".notice.bad")).to_contain_text("second_factor_failed")
    await page.fill("#code", pyotp.TOTP(secret).now())
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.locator(".notice.good")).to_be_visible()
    return secret


async def test_who_is_not_signed_in_sees_nothing_and_comes_back_afterwards(
    home: House, chromium: Browser
) -> None:
    email, link = await home.invite("Grace", "viewer")
    async with looking(chromium, home.base) as looker:
        page = await looker.open(link)
        await set_password(page)
        await page.goto(f"{home.base}/console/me")
        assert page.url == f"{home.base}/console/sign-in?next=/console/me"
        await sign_in(page, email, PASSWORD)
        await expect(page.locator("h1")).to_have_text("Grace")
        assert await page.get_by_text("Kill switch").count() == 0, "a viewer is not offered it"
        await page.goto(f"{home.base}/console/sign-in?next=//elsewhere.example/")
        await sign_in(page, email, PASSWORD)
        assert page.url == f"{home.base}/console/"
        assert looker.complaints == []


async def test_a_signal_shows_itself_while_the_page_is_open(
    home: House, chromium: Browser, admin: Any
) -> None:
    async with looking(chromium, home.base, state=admin) as looker:
        page = await looker.open("/console/")
        await expect(page.locator("#live")).to_have_class("live on")
        sent = await home.send.send(ticker="BTC_USDT", action="buy", quantity=1, signalPrice=50_000)
        assert sent.status == 202
        row = page.locator(f'.signal:has(a[href$="{sent.signal_id}"])')
        await expect(row).to_contain_text("done")
        await expect(row.locator(".legend")).to_contain_text("done 6")
        await row.get_by_role("link").click()
        await expect(page.locator("#summary .badge").first).to_have_text("done")
        await expect(page.locator("table.accounts tbody tr")).to_have_count(6)
        await looker.inspect(page)
        await page.get_by_role("link", name="Client 3").click()
        await expect(page.locator("h1")).to_have_text("Client 3")
        await expect(page.locator(".arithmetic")).to_contain_text("1")
        assert await page.locator(".waterfall .step").count() >= 3
        await looker.inspect(page)
        assert looker.complaints == []


async def test_a_form_from_elsewhere_does_nothing(
    home: House, chromium: Browser, admin: Any
) -> None:
    async with looking(chromium, home.base, state=admin) as looker:
        page = await looker.open("/console/")
        answer = await looker.context.request.post(
            f"{home.base}/console/sign-out", form={"csrf": "whatever"},
            headers={"origin": "https://elsewhere.example", "sec-fetch-site": "cross-site"},
        )  # fmt: skip
        assert answer.status == 403
        token = await page.locator("meta[name=csrf]").get_attribute("content")
        wrong = await looker.context.request.post(
            f"{home.base}/console/sign-out", form={"csrf": f"{token}x"},
            headers={"sec-fetch-site": "same-origin"},
        )  # fmt: skip
        assert (wrong.status, "csrf_failed" in await wrong.text()) == (403, True)
        await page.reload()
        await expect(page.locator("h1")).to_have_text("Now")
        await page.goto(f"{home.base}/console/me/recovery-codes")
        assert page.url == f"{home.base}/console/me", "a form's address leads to its page"


@pytest.mark.parametrize(
    "walk",
    [
        steering.walk_kill_switch, steering.walk_account, steering.walk_settings,
        steering.walk_approvals,
    ],
)  # fmt: skip
async def test_people_steer(home: House, chromium: Browser, admin: Any, walk: Any) -> None:
    async with looking(chromium, home.base, state=admin) as looker:
        looker.expected = {409, 412}
        await walk(home, looker, await looker.open("/console/"))
        assert looker.complaints == []


@pytest.mark.parametrize(
    "walk",
    [
        deciding.walk_dead_letter,
        *(
            pytest.param(walk, marks=pytest.mark.longer)
            for walk in (
                releasing.walk_flatten, releasing.walk_block_all, releasing.walk_instrument,
                releasing.walk_hold, proving.walk_tradingview,
            )
        ),
        steering.walk_four_eyes,  # the last: from then on nobody is invited by one person alone
    ],
)  # fmt: skip
async def test_people_decide_and_let_go(
    home: House, chromium: Browser, admin: Any, walk: Any
) -> None:
    async with looking(chromium, home.base, state=admin) as looker:
        looker.expected = {422}
        await walk(home, looker, await looker.open("/console/"))
        assert looker.complaints == []


async def test_an_operator_sees_the_installation_and_nothing_of_a_customers_trading(
    home: House, chromium: Browser
) -> None:
    async with looking(chromium, home.base) as looker:
        looker.expected = {403}
        await come_in(looker, *await home.invite_operator("Olga"), PLATFORM)
        await proving.operate(looker, home)
        state = await looker.context.storage_state()
        assert looker.complaints == []
    async with looking(
        chromium, home.base, width=375, tongue="zh_Hant", dark=True, state=state
    ) as phone:
        for path in ("/console/operators", "/console/kill-switch", "/console/evidence"):
            await phone.inspect(await phone.open(path))
        assert phone.complaints == []


@pytest.mark.parametrize(("width", "tongue", "dark"), SCREENS)
async def test_every_page_is_sound_on_each_screen(
    home: House, chromium: Browser, admin: Any, width: Width, tongue: Tongue, dark: bool
) -> None:
    async with looking(
        chromium, home.base, width=width, tongue=tongue, dark=dark, state=admin
    ) as looker:
        await steering.sent(home, steering.SIGNAL)
        page = await looker.open("/console/")
        for path in await pages_of(home):
            await page.goto(home.base + path)
            await expect(page.locator("h1"), path).to_be_visible()
            assert await page.locator("html").get_attribute("lang") == (
                "en" if tongue == "en" else "zh-Hant-TW"
            )
            await looker.inspect(page)
        assert looker.complaints == []


async def test_somebody_sets_up_sends_and_proves(
    home: House, chromium: Browser, admin: Any
) -> None:
    """Last: it makes a strategy, a hook and a hold on the whole tenant."""
    async with looking(chromium, home.base, state=admin) as looker:
        looker.expected = {422}
        await proving.walk(looker, home)
        assert looker.complaints == []


async def pages_of(home: House) -> list[str]:
    """The addresses of all pages, with the ids of what is there."""
    signals = home.acme.api.items("/v1/signals", strategy_id=home.strategy)
    newest = await anext(aiter(signals))
    signal, account = newest["signal_id"], home.accounts["Client 1"]
    return [
        "/console/", f"/console/signals/{signal}", f"/console/signals/{signal}/accounts/{account}",
        "/console/me", "/console/me/second-factor", *await steering.steering_pages(home), *proving.PAGES,
    ]  # fmt: skip
