"""`./appliance bench [NAME…]`: measure, print, draw."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
import uvloop

from ops.bench.catalogue import BENCHES, Bench, chosen
from ops.bench.history import Entry, commit_here, keep, read
from ops.bench.measure import Effort, Measurement, machine, to_json
from ops.bench.picture import draw
from ops.bench.profile import Profiler
from ops.bench.show import print_history, print_profiles, print_table
from tenancy.errors import PortcullisError


def _say(text: str) -> None:
    """Progress goes to stderr: stdout is for the figures."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


async def measure(benches: dict[str, Bench], effort: Effort) -> list[Measurement]:
    """One bench after the other: two at once would measure each other.

    SIGTERM ends it as Ctrl-C does, so that nothing which it started stays.
    """
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return [one for bench in benches.values() for one in await bench(effort, _say)]


def conditions(effort: Effort, now: datetime) -> str:
    """Under what circumstances the figures were taken: half of what they mean."""
    return f"{machine(now)} · median of {effort.runs} run{'s' * (effort.runs > 1)}" + (
        " · quick: a smoke run" if effort.quick else ""
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./appliance bench",
        description="Measure Portcullis beside the floors of this machine: a table, and a picture.",
        epilog="docs/benchmarks.md says what each figure and each floor is.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME",
        help=f"{', '.join(BENCHES)}; all; or `history`: what was kept, and nothing is measured",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON list, no table")
    parser.add_argument("--runs", type=int, default=5, help="runs of each figure (5); odd is best")
    parser.add_argument(
        "--orders", type=int, help="how many orders `pages` has to page through (200000)"
    )
    parser.add_argument("--seconds", type=float, help="how long each run of `audit` appends (3)")
    parser.add_argument("--quick", action="store_true", help="one short run: does it work at all")
    parser.add_argument(
        "--keep", action="store_true", help="keep the figures in docs/bench-history/, for a commit"
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="look, after the runs of `accept` and `fanout`, where the time goes (py-spy; as root)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("bench-results"), help="where the picture goes"
    )
    return parser


def _quiet() -> None:
    """The parts that run in this process log to stderr, and only what is wrong."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured; 1: a part does not work; 2: asked wrongly."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.names == ["history"]:
        print_history(read())
        return 0
    try:
        if given.keep and given.quick:
            raise ValueError("a quick run says that it works, not how fast: it is not kept")
        benches = chosen(given.names)
        effort = Effort(
            runs=1 if given.quick else given.runs,
            quick=given.quick,
            orders=given.orders,
            seconds=given.seconds,
            profiler=Profiler(given.out) if given.profile else None,
        )
    except (PortcullisError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)  # noqa: T201
        return 2
    _quiet()
    now, before = datetime.now(UTC), read()
    under = conditions(effort, now)
    try:
        measurements = uvloop.run(measure(benches, effort))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except PortcullisError as error:
        print(f"bench: {error}", file=sys.stderr)  # noqa: T201
        return 1
    profiles = effort.profiler.profiles if effort.profiler is not None else []
    picture = given.out / f"bench-{'-'.join(benches)}.png"
    draw(measurements, picture, under)
    if given.json:
        print(json.dumps(to_json(measurements), indent=1))  # noqa: T201
    else:
        print_table(measurements, before)
        if profiles:
            print_profiles(profiles)
    if given.keep:
        entry = Entry(
            at=now,
            commit=commit_here(),
            conditions=under,
            measurements=tuple(measurements),
            profiles=tuple(profiles),
        )
        _say(f"kept: {keep(entry)}")
    _say(f"picture: {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
