"""A real browser with the console: the page subscribes, the worker shows what was pushed and keeps nothing.

Chromium has no push service here, so two things are put in their places: `PushManager.subscribe()` answers with
the subscription of the test's own browser, whose push service is real; and what that one decrypts is given to the
worker through DevTools, as Chromium gives what comes from its push service.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.async_api import BrowserContext, Page, async_playwright

from gateway.admin.cookies import SESSION_COOKIE
from gateway.notify.vapid import b64, read_b64
from ops.listener_settings import Tls
from ops.processes import listen
from ops.serve import serve
from tenancy.people import PersonID
from tenancy.sessions import SessionLimits
from tenancy.store.sessions import open_session
from tests.fakes.push_service import Browser
from tests.fixtures.api import Api
from tests.fixtures.tls import Certificate
from tests.integration.console.browser import CHROMIUM, Looker, looking
from tests.integration.notify.test_push_routes import app, make_key, phone

pytestmark = pytest.mark.stack
__all__ = ["app", "phone"]
SUBSCRIBE = """
(subscription) => {
  PushManager.prototype.subscribe = async function ({ userVisibleOnly, applicationServerKey }) {
    const { endpoint, p256dh, auth } = subscription;
    if (!userVisibleOnly) throw new Error("Chromium takes no silent subscription");
    sessionStorage.setItem("subscribed", JSON.stringify([...applicationServerKey]));
    return { endpoint, toJSON: () => ({ endpoint, keys: { p256dh, auth } }) };
  };
  PushManager.prototype.getSubscription = async function () {
    const key = sessionStorage.getItem("subscribed");
    if (key === null) return null;
    return { endpoint: subscription.endpoint,
             options: { applicationServerKey: new Uint8Array(JSON.parse(key)).buffer },
             unsubscribe: async () => sessionStorage.removeItem("subscribed") };
  };
}
"""
"""What stands in for the push service that Chromium does not have here."""


@asynccontextmanager
async def served(app: Any, certificate: Certificate) -> AsyncIterator[str]:
    """The management listener under TLS; its address."""
    listener = listen("localhost", 0)
    tls = Tls(certificate=Path(certificate.certfile), key=Path(certificate.keyfile))
    base = f"https://localhost:{listener.getsockname()[1]}"
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app, fd=listener.detach(), tls=tls, stop=stop))
    try:
        yield base
    finally:
        stop.set()
        await serving


async def cookie(api: Api, person: str) -> str:
    """A session of the person's in a browser."""
    scope = api.scopes["admin"]
    limits = SessionLimits(idle=timedelta(minutes=30), absolute=timedelta(hours=12))
    async with api.services.database.tenant(scope) as conn:
        opened = await open_session(
            conn, scope, PersonID(person), transport="cookie", second_factor=True, client="", user_agent="",
            limits=limits, now=api.services.clock.now(),
        )  # fmt: skip
    return opened.token


@asynccontextmanager
async def signed_in(base: str, token: str) -> AsyncIterator[Looker]:
    """A phone with that session, which permits notifications."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--ignore-certificate-errors"]
        )
        try:
            async with looking(running, base, width=375) as looker:
                await looker.context.grant_permissions(["notifications"], origin=base)
                await looker.context.add_cookies(
                    [{"name": SESSION_COOKIE, "value": token, "url": base, "secure": True, "httpOnly": True}]
                )  # fmt: skip
                yield looker
        finally:
            await running.close()


async def test_a_phone_subscribes_shows_what_is_pushed_and_says_when_nothing_is_current(
    api: Api, app: Any, phone: Browser, certificate: Certificate
) -> None:
    key = await make_key(api, app)
    phone.subscribed_for = read_b64(key, 65, "public_key")
    _, person, _ = await api.person("admin", "trader")
    async with (
        served(app, certificate) as base,
        signed_in(base, await cookie(api, person)) as looker,
    ):
        context = looker.context
        await context.add_init_script(f"({SUBSCRIBE})({as_json(phone)})")
        page = await looker.open("/console/me/notifications")
        await page.get_by_text("You are not told in this browser.").wait_for()
        await page.get_by_role("button", name="Tell me here", exact=True).click()
        await page.get_by_text("You are told in this browser.").wait_for()
        assert await page.locator("tr[data-device]").count() == 1
        await looker.inspect(page)
        await page.get_by_role("button", name="Test this browser").click()
        await page.get_by_text("The other side took it.").wait_for()
        (shown,) = phone.shown
        for data in (shown.plain.decode(), shown.plain.decode(), "no JSON"):
            await push(context, page, data)
        notes = await until_shown(page, "unread")
        assert [(n["title"], n["tag"], n["url"]) for n in notes] == [
            ("Test", shown.id, "/console/"), ("Portcullis", "unread", "/console/"),
        ], "the same message again is the same notification, and no message is passed over"  # fmt: skip
        kept = await page.evaluate(
            "async () => { const names = await caches.keys(); const all = [];"
            " for (const n of names) for (const r of await (await caches.open(n)).keys())"
            " all.push(new URL(r.url).pathname); return all.sort(); }"
        )
        assert kept == ["/console/static/offline.css", "/console/static/offline.html"]
        assert looker.complaints == []
        await context.set_offline(True)
        await page.goto(f"{base}/console/me")
        await page.get_by_text("Nothing that you saw before is current").wait_for()
        assert await page.get_by_role("heading", name="未連線").is_visible()
        await context.set_offline(False)
        await page.goto(f"{base}/console/me/notifications")
        await page.get_by_role("button", name="Tell me here no more").click()
        await page.get_by_text("You are not told in this browser.").wait_for()
        assert await page.locator("tr[data-device]").count() == 0


def as_json(phone: Browser) -> str:
    """The subscription, as the stand-in is given it."""
    parts = {"endpoint": phone.endpoint, "p256dh": b64(phone.p256dh), "auth": b64(phone.auth)}
    return msgspec.json.encode(parts).decode()


async def push(context: BrowserContext, page: Page, data: str) -> None:
    """As a push service brings it to the worker."""
    session = await context.new_cdp_session(page)
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def registered(event: dict[str, Any]) -> None:
        for one in event["registrations"]:
            if not found.done() and not one["isDeleted"]:
                found.set_result(one["registrationId"])

    session.on("ServiceWorker.workerRegistrationUpdated", registered)
    await session.send("ServiceWorker.enable")
    async with asyncio.timeout(10):
        registration = await found
    origin = await page.evaluate("location.origin")
    await session.send(
        "ServiceWorker.deliverPushMessage",
        {"origin": origin, "registrationId": registration, "data": data},
    )
    await session.detach()


async def until_shown(page: Page, tag: str) -> list[dict[str, Any]]:
    """What the worker shows, oldest first, as soon as a notification with that tag is there."""
    async with asyncio.timeout(10):
        while True:
            shown: list[dict[str, Any]] = await page.evaluate(
                "async () => (await (await navigator.serviceWorker.ready).getNotifications())"
                ".map((n) => ({ title: n.title, tag: n.tag, url: n.data.url }))"
            )
            if any(one["tag"] == tag for one in shown):
                return sorted(shown, key=lambda one: one["tag"] == tag)
            await asyncio.sleep(0.02)
