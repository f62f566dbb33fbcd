"""`./appliance load`: the knee of this host, and whether what was accepted was carried out exactly once.

Exit status: 0 carried out exactly once · 1 not, or a part does not work · 2 asked wrongly.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvloop

from loadtest.swarm.course import Timing
from loadtest.swarm.knee import Objectives
from ops.bench.measure import machine
from ops.bench.show import number
from ops.load.page import page
from ops.load.picture import draw, draw_scene, draw_soak
from ops.load.report import Report
from ops.load.run import measure
from ops.load.scene import Scene
from ops.load.settings import SCENARIOS, Delay, Noise, Settings
from ops.load.soak import Growth
from tenancy.errors import PortcullisError

NAME = "./appliance load"


def _say(text: str) -> None:
    """Progress goes to stderr."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    usual = Settings()
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Send signed signals to a whole installation of its own, at rates that find its knee.",
        epilog="docs/loadtest.md says what each figure is. Rates are signals a second, of all strategies.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    parser.add_argument(
        "scenario", nargs="?", choices=SCENARIOS, default=usual.scenario,
        help="what the run is about: the knee, one tenant that sends many times its share, several knees, or one"
        " rate for long",
    )  # fmt: skip

    def option(name: str, default: float | None, text: str) -> None:
        kind = int if isinstance(default, int) else float
        parser.add_argument(name, type=kind, default=default, metavar="N", help=text)

    option("--tenants", usual.tenants, "how many")
    option("--strategies", usual.strategies, "of each tenant")
    option("--followers", usual.followers, "accounts of each strategy: orders of each signal")
    option("--pace", usual.pace_per_s, "signals a second of each strategy")
    option(
        "--start",
        usual.start_per_s,
        "the first rate; neighbour: of all; overload: the knee; soak: the rate",
    )
    option("--most", usual.most_per_s, "the highest rate; without it, what all strategies send")
    option("--growth", usual.growth, "each rate times the last, until one breaks")
    option("--precision", usual.precision, "how near the knee is to be known")
    option("--tries", usual.tries, "a rate is broken when it broke so often")
    option("--p99", usual.objectives.p99_ms, "objective: webhook to 202, ms")
    option("--errors", usual.objectives.errors, "objective: part of requests not answered 202")
    option(
        "--lag", usual.objectives.lag_s, "objective: s by which orders may fall behind in a step"
    )
    option("--settle", usual.timing.settle_s, "s at a rate before it is measured")
    option("--measure", usual.timing.measure_s, "s of each measurement")
    option("--rest", usual.timing.rest_s, "s of rest after a break, at least")
    option("--factor", usual.noise.factor, "neighbour: times its share, 20; overload: knees, 5")
    option("--quiet", usual.noise.quiet_s, "s of a scenario before it becomes loud")
    option("--loud", usual.noise.loud_s, "s that it is loud")
    option("--after", usual.noise.after_s, "s afterwards")
    option("--minutes", usual.soak_s / 60, "of a soak")
    option("--api-users", usual.api_users, "programs at the management API")
    option("--api-pace", usual.api_pace_per_s, "requests a second of each")
    option("--streams", usual.streams, "open consoles: event streams, at most 20 a tenant")
    option("--workers", usual.workers, "worker processes of the product")
    option("--ingress", usual.ingress, "ingress processes of the product")
    option("--generators", usual.generators, "worker processes of Locust")
    parser.add_argument(
        "--broker-delay", action="append", metavar="MS[:PART]",
        help="how long the broker takes over an order; again, with a part of the orders (default: 20)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--out", type=Path, default=Path("load-results"), help="where everything is written"
    )
    return parser


def _settings(given: argparse.Namespace) -> Settings:
    """Raises ValueError, saying what would be right."""
    usual = Settings()
    delays = given.broker_delay
    return Settings(
        scenario=given.scenario,
        tenants=given.tenants,
        strategies=given.strategies,
        followers=given.followers,
        pace_per_s=given.pace,
        start_per_s=given.start,
        most_per_s=given.most,
        soak_s=given.minutes * 60,
        delays=tuple(map(Delay.read, delays)) if delays else usual.delays,
        api_users=given.api_users,
        api_pace_per_s=given.api_pace,
        streams=given.streams,
        workers=given.workers,
        ingress=given.ingress,
        generators=given.generators,
        growth=given.growth,
        precision=given.precision,
        tries=given.tries,
        objectives=Objectives(p99_ms=given.p99, errors=given.errors, lag_s=given.lag),
        timing=Timing(settle_s=given.settle, measure_s=given.measure, rest_s=given.rest),
        noise=Noise(
            factor=given.factor, quiet_s=given.quiet, loud_s=given.loud, after_s=given.after
        ),
    )


async def _measured(settings: Settings, out: Path, command: str) -> Report:
    """SIGTERM ends it as Ctrl-C does, so that nothing which it started stays."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await measure(
        settings, out, _say, command=command, conditions=machine(datetime.now(UTC))
    )


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    given = _parser().parse_args(words)
    try:
        settings = _settings(given)
    except ValueError as error:
        _say(f"load: {error}")
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    try:
        report = uvloop.run(_measured(settings, given.out, f"{NAME} {shlex.join(words)}"))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except PortcullisError as error:
        _say(f"load: {error}")
        return 1
    _write(report, given.out)
    if given.json:
        print(msgspec.json.encode(report).decode())  # noqa: T201
    else:
        print("\n".join(_lines(report, given.out)))  # noqa: T201
    return 0 if report.well else 1


def _write(report: Report, out: Path) -> None:
    limit_ms = report.settings.objectives.p99_ms
    if report.growths:
        picture = draw_soak(report.steps, report.samples, limit_ms)
    elif report.scene is None:
        picture = draw(report.steps, report.samples, limit_ms)
    else:
        picture = draw_scene(report.scene, report.samples, limit_ms)
    (out / "report.svg").write_text(picture)
    (out / "report.html").write_text(page(report, picture))
    (out / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)))


def _lines(report: Report, out: Path) -> list[str]:
    """What a person wants to know first."""
    verdict = report.verdict
    return [
        *(_knee(report) if report.scene is None else _scene(report.scene)),
        f"{verdict.acknowledged} signals acknowledged, {verdict.orders} orders: lost {verdict.lost}, doubled"
        f" {verdict.doubled}, unexplained {verdict.unexplained}, audit log {verdict.log}",
        *verdict.findings,
        f"report: {out / 'report.html'}",
    ]


def _knee(report: Report) -> list[str]:
    knee = report.knee
    rate = f"{number(knee.signals_per_s)} signals/s, {number(knee.orders_per_s)} orders/s"
    held = [f"{number(one.asked_per_s)} signals/s: {one.broke or 'held'}" for one in report.steps]
    if report.growths:
        return [*held, *map(_growth, report.growths)]
    return [
        *held,
        f"knee: {'' if knee.found else 'at least '}{rate}",
    ]


def _growth(one: Growth) -> str:
    words = "GREW" if one.grew else "did not grow"
    return f"{one.group}, {one.count}: {number(one.first)} to {number(one.last)}, {words}"


def _scene(scene: Scene) -> list[str]:
    lines = []
    for part in scene.parts:
        took = f"p99 {number(part.answer.p99_ms)} ms" if part.answer else "none"
        refused = ", ".join(f"{count} × {status}" for status, count in part.refused.items())
        lines.append(
            f"{part.who}, {part.when}: {part.accepted} accepted, {took}; refused {refused or 0}"
        )
    if scene.others_p99 is not None:
        lines.append(f"others' p99: {number(scene.others_p99)} times what it was before")
    after = scene.recovered_s
    return [*lines, "not recovered" if after is None else f"recovered after {number(after)} s"]


if __name__ == "__main__":
    sys.exit(main())
