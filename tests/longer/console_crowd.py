"""A signal of 5,000 accounts on a page that is open: how soon it is seen, and whether it moves without a stall.

    python -m tests.longer.console_crowd [--accounts N] [--json]

A real installation with that many paper accounts, a real browser on loopback. Printed, in milliseconds:

- `first_content`: the signal's page opened anew nine times, the median of when Chromium painted content first;
  `floor`: the same of the page of somebody's own settings, which shows a few rows.
- `longest_task`: the longest that script kept the browser from answering, while the signal was worked on.
- `updates`, `longest_pause`: how often the summary came anew meanwhile, and the longest time between two.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from tests.integration.console.browser import Looker, browser, looking
from tests.integration.console.house import House, house
from tests.integration.console.people import set_password, sign_in

TIMES = 9
WATCH = """
() => {
  window.seen = {tasks: [], updates: []};
  new PerformanceObserver((list) => window.seen.tasks.push(...list.getEntries().map((e) => e.duration)))
    .observe({type: 'longtask', buffered: true});
  document.body.addEventListener('htmx:afterSwap', (event) => {
    if (event.detail.target.id === 'summary') window.seen.updates.push(performance.now());
  });
}
"""
PAINTED = """
new Promise((done) => {
  const look = () => {
    const [painted] = performance.getEntriesByName('first-contentful-paint');
    if (painted) done(painted.startTime); else setTimeout(look, 10);
  };
  look();
})
"""


async def painted(page: Page, url: str) -> float:
    """When content was painted first, of `TIMES` visits the median."""
    times = []
    for _ in range(TIMES):
        await page.goto(url)
        times.append(await page.evaluate(PAINTED))
    return statistics.median(times)


async def crowded(home: House, looker: Looker, accounts: int) -> dict[str, Any]:
    email, link = await home.invite("Grace", "trader")
    page = await looker.open(link)
    await set_password(page)
    await sign_in(page, email)
    await expect(page.locator("h1")).to_have_text("Now")
    sent = await home.send.send(ticker="BTC_USDT", action="buy", quantity=1, signalPrice=50_000)
    url = f"{home.base}/console/signals/{sent.signal_id}"
    await page.goto(url)
    await page.evaluate(WATCH)
    done = page.locator("#summary .badge").first
    await expect(done).to_have_text("done", timeout=180_000)
    await expect(page.locator("#summary .legend")).to_contain_text(f"done {accounts:,}")
    seen = await page.evaluate("window.seen")
    pauses = [b - a for a, b in zip(seen["updates"], seen["updates"][1:], strict=False)]
    return {
        "accounts": accounts,
        "first_content": await painted(page, url),
        "floor": await painted(page, f"{home.base}/console/me"),
        "longest_task": max(seen["tasks"], default=0.0),
        "updates": len(seen["updates"]),
        "longest_pause": max(pauses, default=0.0),
        "complaints": [list(one) for one in looker.complaints],
    }


async def measured(accounts: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="pc-crowd-") as place:
        async with (
            house(Path(place) / "var", accounts) as home,
            browser(home.base) as chromium,
            looking(chromium, home.base) as looker,
        ):
            return await crowded(home, looker, accounts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=5_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = asyncio.run(measured(asked.accounts))
    if asked.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(
                f"{name:>16}  {value:,.1f}" if isinstance(value, float) else f"{name:>16}  {value}"
            )
    return 1 if found["complaints"] or found["first_content"] > 500 else 0


if __name__ == "__main__":
    sys.exit(main())
