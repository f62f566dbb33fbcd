"""A real browser on the console: what it complains of, what axe finds, whether a page is wider than the screen.

Chromium as Debian has it, driven by Playwright. It reaches localhost and nothing else, and trusts the very key of
the installation under test.
"""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

AXE = Path(__file__).parents[2] / "fixtures" / "browser" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 60_000
"""For whatever a page is to show: a busy machine is slow, and what never comes fails all the same."""
Width = Literal[375, 1440]
Tongue = Literal["en", "zh_Hant"]
LOCALES = {"en": "en-GB", "zh_Hant": "zh-TW"}


class Complaint(NamedTuple):
    """Something that nobody should have to see."""

    page: str
    what: str


class Looker:
    """A browser context, and everything that went wrong in its pages."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.context = context
        self.base = base
        self.complaints: list[Complaint] = []
        self.expected: set[int] = set()
        """Statuses of refusals that a test provokes: the browser's line about them is no complaint."""
        context.on("page", self._watch)

    def _watch(self, page: Page) -> None:
        page.on("console", lambda message: self._console(message.type, message.text, page.url))
        page.on("pageerror", lambda error: self._complain(page.url, f"script: {error}"))

    def _console(self, kind: str, text: str, url: str) -> None:
        if kind not in ("error", "warning"):
            return
        if any(f"status of {status} " in text for status in self.expected):
            return
        self._complain(url, f"{kind}: {text}")

    def _complain(self, url: str, what: str) -> None:
        self.complaints.append(Complaint(url.removeprefix(self.base), what))

    async def open(self, path: str) -> Page:
        """A page of its own, loaded."""
        page = await self.context.new_page()
        await page.goto(self.base + path)
        return page

    async def inspect(self, page: Page) -> None:
        """Complain of what axe finds, and of a page that is wider than its window. Leaves no script behind."""
        url = page.url
        # As tall as the page: what lies under the menu of a phone just now can be scrolled out from there.
        size = page.viewport_size
        assert size is not None
        tall = await page.evaluate("document.documentElement.scrollHeight")
        await page.set_viewport_size(
            {"width": size["width"], "height": max(size["height"], tall + 200)}
        )
        session = await self.context.new_cdp_session(page)
        # By the debugger, in a world of its own: the page's content security policy stays as it is.
        tree = await session.send("Page.getFrameTree")
        world = await session.send(
            "Page.createIsolatedWorld", {"frameId": tree["frameTree"]["frame"]["id"]}
        )
        where = world["executionContextId"]
        await session.send("Runtime.evaluate", {"expression": AXE.read_text(), "contextId": where})
        asked = (
            f"axe.run(document, {{runOnly: {RULES!r}}}).then((r) => JSON.stringify(r.violations.map((v) =>\
 [v.id, v.help, v.nodes.map((n) => n.html.slice(0, 200)).slice(0, 3)])))"
        )
        found: dict[str, Any] = await session.send(
            "Runtime.evaluate",
            {"expression": asked, "contextId": where, "awaitPromise": True, "returnByValue": True},
        )
        assert "exceptionDetails" not in found, found
        if (text := found["result"]["value"]) != "[]":
            self._complain(url, f"axe: {text}")
        wide, shown = await page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        if wide > shown:
            self._complain(url, f"scrolls sideways: {wide} px in {shown} px")
        await session.detach()
        await page.set_viewport_size(size)


def key_digest(certificate: bytes) -> str:
    """What Chromium calls a key (base64 of the SHA-256 of its SubjectPublicKeyInfo). DER."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


@asynccontextmanager
async def browser(base: str) -> AsyncIterator[Browser]:
    """A browser that knows the key behind `base` (https://localhost:port) and no name but localhost."""
    host, _, port = base.removeprefix("https://").partition(":")
    pem = ssl.get_server_certificate((host, int(port)))
    known = key_digest(ssl.PEM_cert_to_DER_cert(pem))
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as player:
        chromium = await player.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                f"--ignore-certificate-errors-spki-list={known}",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost",
            ],
        )
        try:
            yield chromium
        finally:
            await chromium.close()


@asynccontextmanager
async def looking(
    chromium: Browser, base: str, *, width: Width = 1440, tongue: Tongue = "en", dark: bool = False,
    state: Any = None,
) -> AsyncIterator[Looker]:  # fmt: skip
    """A visitor: in Taipei, with that screen and language, signed in with `state`."""
    context = await chromium.new_context(
        viewport={"width": width, "height": 900 if width > 500 else 760},
        locale=LOCALES[tongue], timezone_id="Asia/Taipei", storage_state=state,
        color_scheme="dark" if dark else "light",
        ignore_https_errors=True,  # for requests without a page; pages know the key (browser())
    )  # fmt: skip
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield Looker(context, base)
    finally:
        await context.close()
