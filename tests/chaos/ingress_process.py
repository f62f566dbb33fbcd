"""tests/fakes/ingress_process.py, to die at one step: `… FD PG REDIS STEP`."""

from __future__ import annotations

import asyncio
import sys

from tests.chaos.steps import STEPS
from tests.fakes.ingress_process import main

if __name__ == "__main__":
    STEPS[sys.argv[4]]()
    asyncio.run(main(*sys.argv[1:4]))
