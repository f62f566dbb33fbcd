"""What the console is for where a real broker is: a key, an order in doubt, a drift; and a house that is empty.

One installation with the exchange simulator. The tests run in the order of the file and tell one story.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from ops.trial.customer import customer
from tests.integration.console import deciding, releasing
from tests.integration.console.browser import Looker, Tongue, Width, browser, looking
from tests.integration.console.house import invite
from tests.integration.console.people import come_in
from tests.integration.console.starting import first_signal
from tests.integration.console.steering import SIGNAL, lots, sent
from tests.integration.console.venue import Venue, venue
from tests.integration.main_job.company import until

pytestmark = [
    pytest.mark.slow, pytest.mark.stack, pytest.mark.longer, pytest.mark.asyncio(loop_scope="module"),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Venue]:
    async with venue(tmp_path_factory.mktemp("v") / "var") as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(place: Venue) -> AsyncIterator[Browser]:
    async with browser(place.home.base) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def state(place: Venue, chromium: Browser) -> Any:
    """An administrator's cookies."""
    async with looking(chromium, place.home.base) as looker:
        await come_in(looker, *await place.home.invite("Ada", "admin"))
        return await looker.context.storage_state()


@pytest_asyncio.fixture(loop_scope="module")
async def looker(place: Venue, chromium: Browser, state: Any) -> AsyncIterator[Looker]:
    async with looking(chromium, place.home.base, state=state) as one:
        one.expected = {422}
        yield one
        assert one.complaints == []


async def test_a_secret_is_sealed_in_the_browser_and_proven_by_the_broker(
    place: Venue, looker: Looker
) -> None:
    sent_bodies: list[str] = []
    looker.context.on("request", lambda one: sent_bodies.append(one.post_data or ""))
    page = await looker.open(f"/console/accounts/{place.account}")
    await page.get_by_role("link", name="Enrol").click()
    await looker.inspect(page)
    await page.fill("#api_key", place.key)
    await page.fill("#secret", place.secret)
    await page.get_by_role("button", name="Seal and send").click()
    await expect(page.locator(".notice.good")).to_contain_text("The broker has proven the key")
    await looker.inspect(page)
    found = await place.home.acme.api.get(f"/v1/accounts/{place.account}/credential")
    assert (found["state"], found["api_key"]) == ("live", place.key)
    assert any(place.key in one for one in sent_bodies)
    assert not any(place.secret in one for one in sent_bodies), "it never leaves the page"
    await place.follow()


async def test_a_person_says_what_the_broker_has_of_an_order_in_doubt(
    place: Venue, looker: Looker
) -> None:
    async with place.lost():
        await place.home.send.send(**SIGNAL)
        page = await looker.open("/console/doubts")
        (one,) = await until(place.market.executed, deciding.WITHIN_S)
        facts = {"broker_order_id": str(one.order_id), "cum_qty": "1", "avg_px": "3000"}
        await deciding.walk_doubt(place.home, looker, page, facts)
    assert await lots(place.home, place.account) == "1"


async def test_a_person_takes_over_what_somebody_bought_by_hand(
    place: Venue, looker: Looker
) -> None:
    await place.by_hand(3)
    page = await looker.open("/console/accounts")
    await deciding.walk_drift(place.home, looker, page, place.account, "4")


async def test_with_a_key_that_was_revoked_nothing_is_signed(place: Venue, looker: Looker) -> None:
    page = await looker.open(f"/console/accounts/{place.account}")
    await releasing.walk_credential(place.home, looker, page, place.account)
    before = await place.market.count()
    outcome = await sent(place.home, {"ticker": "BTC_USDT", "action": "buy", "quantity": 1})
    assert outcome["states"] == {"filled": 1, "skipped": 1}, "the paper account trades on"
    assert await place.market.count() == before


@pytest.mark.parametrize(("width", "tongue"), [(1440, "en"), (375, "zh_Hant")])
async def test_an_empty_house_comes_to_its_first_paper_signal_by_the_page_alone(
    place: Venue, chromium: Browser, width: Width, tongue: Tongue
) -> None:
    name = f"Empty at {width}"
    async with (
        customer(place.home.here, name) as house,
        looking(chromium, place.home.base, width=width, tongue=tongue) as looker,
    ):
        await first_signal(looker, *await invite(house.api, "Eve", "admin"), name)
        assert looker.complaints == []
        (signal,) = (await house.api.get("/v1/signals"))["items"]
        outcome = await house.api.get(f"/v1/signals/{signal['signal_id']}/outcome")
        assert (outcome["state"], outcome["states"]) == ("done", {"filled": 1})
