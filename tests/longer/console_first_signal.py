"""How long it takes from an empty house to the first paper signal, by the console alone.

    python -m tests.longer.console_first_signal [--pace SECONDS] [--json]

A fresh installation, a new customer's first administrator, a real browser: the invitation's link, a password, a
second factor, then the five forms of the set-up page as they come, until the signal is done. Printed: each step
from press to what it leads to, and the whole. With `--pace` somebody reads for so long before each form, which is
counted. Exits with 1 where a browser, axe or a ruler complained, or where it took five minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ops.trial.customer import customer
from tests.integration.console.browser import browser, looking
from tests.integration.console.house import house, invite
from tests.integration.console.starting import first_signal

NAME = "Empty House"
MOST_S = 300.0


async def measured(pace_s: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="pc-first-") as place:
        async with (
            house(Path(place) / "var", 0) as home,
            customer(home.here, NAME) as empty,
            browser(home.base) as chromium,
            looking(chromium, home.base) as looker,
        ):
            email, link = await invite(empty.api, "Eve", "admin")
            began = time.monotonic()
            steps = await first_signal(looker, email, link, NAME, pace_s)
            return {
                "pace_s": pace_s,
                "steps_s": {one.name: round(one.took_s, 2) for one in steps},
                "whole_s": round(time.monotonic() - began, 1),
                "complaints": [list(one) for one in looker.complaints],
            }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pace", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = asyncio.run(measured(asked.pace))
    if asked.json:
        print(json.dumps(found))
    else:
        for name, took in found["steps_s"].items():
            print(f"{took:>8.2f} s  {name}")
        print(f"{found['whole_s']:>8.1f} s  from the invitation's link to the first paper signal")
        for page, what in found["complaints"]:
            print(f"{page}: {what}")
    return 1 if found["complaints"] or found["whole_s"] >= MOST_S else 0


if __name__ == "__main__":
    sys.exit(main())
