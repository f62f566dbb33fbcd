"""Every page of the console on four screens, each watched as in the suite; pictures of two of them for docs/.

    python -m tests.longer.console_pictures [--into docs/console]

Both languages at 1,440 and 375 px, light and dark. First people use it (the walks of the suite), so that there is
something to see. Prints what a browser, axe or a ruler complained of, and exits with 1 where there is anything.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, expect

from tests.integration.console import proving, steering
from tests.integration.console.browser import Complaint, Looker, Tongue, Width, browser, looking
from tests.integration.console.house import House, house
from tests.integration.console.people import come_in
from tests.integration.console.test_console import pages_of

SCREENS: tuple[tuple[Width, Tongue, bool, bool], ...] = (
    (1440, "en", False, True), (375, "zh_Hant", True, True),
    (1440, "zh_Hant", True, False), (375, "en", False, False),
)  # fmt: skip
"""Width, language, dark, whether a picture is kept."""


async def used(home: House, chromium: Browser) -> tuple[Any, list[Complaint]]:
    """The cookies of somebody who has used it, and what they met with."""
    async with looking(chromium, home.base) as looker:
        looker.expected = {400, 409, 412, 422}
        page = await come_in(looker, *await home.invite("Ada", "admin"))
        for quantity in (3, 1, 2):
            await home.send.send(
                ticker="BTC_USDT", action="buy", quantity=quantity, signalPrice=50_000
            )
        for walk in (steering.walk_settings, steering.walk_approvals, steering.walk_four_eyes):
            await walk(home, looker, page)
        await proving.walk(looker, home)
        return await looker.context.storage_state(), looker.complaints


async def shown(looker: Looker, home: House, into: Path | None, name: str) -> None:
    page = await looker.open("/console/")
    for path in await pages_of(home):
        await page.goto(home.base + path)
        await expect(page.locator("h1"), path).to_be_visible()
        await looker.inspect(page)
        if into is not None:
            await page.evaluate("document.activeElement?.blur()")
            await page.screenshot(path=into / f"{_file_of(path)}-{name}.png")


def _file_of(path: str) -> str:
    """/console/signals/<id>/accounts/<id> → signals-accounts."""
    words = re.sub(r"[0-9a-f-]{36}", "", path.removeprefix("/console").replace("?", "/"))
    return "-".join(re.findall(r"[a-z][a-z-]*", words)) or "now"


async def main(into: Path | None) -> int:
    with tempfile.TemporaryDirectory(prefix="pc-look-") as var:
        async with house(Path(var) / "var") as home, browser(home.base) as chromium:
            state, complaints = await used(home, chromium)
            for width, tongue, dark, kept in SCREENS:
                async with looking(
                    chromium, home.base, width=width, tongue=tongue, dark=dark, state=state
                ) as looker:
                    await shown(looker, home, into if kept else None, f"{width}-{tongue}")
                    complaints += looker.complaints
                    state = await looker.context.storage_state()
    for one in complaints:
        sys.stdout.write(f"{one.page}: {one.what}\n")
    sys.stdout.write(f"{len(complaints)} complaints\n")
    return 1 if complaints else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path)
    asked = parser.parse_args()
    if asked.into is not None:
        asked.into.mkdir(parents=True, exist_ok=True)
    sys.exit(asyncio.run(main(asked.into)))
