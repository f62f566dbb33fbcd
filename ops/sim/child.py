"""One process of a simulation: a PostgreSQL of its own, the seeds from stdin, a line for each on stdout.

`--tell S`: one seed, and everything that it did, with the product's log. Started with PYTHONHASHSEED=0
(run.py), else a set of strings would be gone through in another order each time.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import MutableMapping
from types import FrameType
from typing import Any

import structlog

from ops.sim.database import Store
from ops.sim.loop import HOST
from ops.sim.postgres import InMemory
from ops.sim.world import World

SEED_S = 180
"""Of the machine's time. A seed takes less than one second; one that takes this long does not end."""


class Endless(BaseException):
    """The seed does not come to an end."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.sim.child", description=__doc__)
    parser.add_argument("--tell", type=int, metavar="S")
    parser.add_argument("--mutant", metavar="NAME")
    given = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        parser.error("PYTHONHASHSEED must be 0: ./appliance sim sets it")
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # what a dead host never awaited
    signal.signal(signal.SIGALRM, _endless)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    if given.mutant:
        from ops.sim.mutants import MUTANTS

        MUTANTS[given.mutant].apply()
    # A collection closes what a dead host left open, at a moment that tells of the seeds before.
    gc.freeze()
    gc.disable()
    with InMemory() as postgres:
        store = Store(postgres.conninfo, postgres.superuser())
        try:
            if given.tell is not None:
                return tell(store, given.tell)
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
            for line in sys.stdin.read().split():
                print(json.dumps(one(World(store, int(line)))), flush=True)
                gc.collect()
        finally:
            store.close()
    return 0


def one(world: World) -> dict[str, Any]:
    """Run it, whatever becomes of it."""
    signal.alarm(SEED_S)
    try:
        world.run()
    except (Exception, Endless) as error:
        where = traceback.format_exception(error)[-1].strip()
        world.wrong.append(f"unexplained: the simulation itself failed: {where}")
    finally:
        signal.alarm(0)
    said: dict[str, Any] = {"seed": world.seed, **world.counts()}
    return said | {"history": world.history.hexdigest()[:16], "findings": world.wrong}


def tell(store: Store, seed: int) -> int:
    """Everything that happened, line by line in simulated seconds, then the findings."""
    world = World(store, seed, print)

    def say(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        host = HOST.get()
        words = " ".join(f"{name}={value}" for name, value in event.items() if name != "event")
        name = host.name if host is not None else "-"
        return f"{world.loop.time():10.6f} {name} log: {method} {event['event']} {words}"

    structlog.configure(
        processors=[structlog.processors.format_exc_info, say],
        wrapper_class=structlog.make_filtering_bound_logger(20),
        logger_factory=structlog.PrintLoggerFactory(),
    )
    result = one(world)
    for line in result.pop("findings"):
        print(line)
    print(json.dumps(result))
    return 1 if world.wrong else 0


def _endless(number: int, frame: FrameType | None) -> None:
    raise Endless(f"no end after {SEED_S} s")


if __name__ == "__main__":
    sys.exit(main())
