"""What keeps orders from leaving, or waits for a person: the kill switch, orders in doubt, drifts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import psycopg
from prometheus_client.parser import text_string_to_metric_families

from ops.doctor.finding import Finding, Level, well
from ops.doctor.looking import Ground, in_thread
from ops.doctor.sessions import rows, session
from ops.probe import get

SUBJECT = "trading"
DOUBT_OLD_S = 60.0
STOPS = "SELECT what, count(*) AS n FROM find_stops() WHERE state <> 'active' GROUP BY what"
DRIFTS = "SELECT cause, open FROM count_drifts(ARRAY(SELECT generate_series(0, 15)::smallint))"
FIGURES = (
    "portcullis_orders_in_doubt",
    "portcullis_doubt_oldest_seconds",
    "portcullis_breakers_open",
)


class Seen(NamedTuple):
    """`figures`: the workers' gauges, added up, of the oldest doubt the largest; `silent`: workers that
    gave none."""

    stops: Mapping[str, int] = {}
    drifts: Mapping[str, int] = {}
    figures: Mapping[str, float] = {}
    silent: tuple[str, ...] = ()
    why: str = ""


async def examine(ground: Ground) -> list[Finding]:
    seen = await in_thread(look, ground.settings.database.worker)
    figures, silent = await _figures(ground)
    return judge(seen._replace(figures=figures, silent=silent))


def look(conninfo: str) -> Seen:
    """Ids and counts only, by the functions that the workers themselves ask."""
    try:
        with session(conninfo) as conn:
            stops = {one["what"]: int(one["n"]) for one in rows(conn, STOPS)}
            return Seen(stops, {one["cause"]: int(one["open"]) for one in rows(conn, DRIFTS)})
    except psycopg.Error as error:
        return Seen(why=" ".join(str(error).split()))


async def _figures(ground: Ground) -> tuple[dict[str, float], tuple[str, ...]]:
    state = ground.state
    workers = (
        {} if state is None else {n: s for n, s in state.health.items() if n.startswith("worker-")}
    )
    pages = await asyncio.gather(*(_page(sock) for sock in workers.values()))
    total: dict[str, float] = {}
    for name, value in (one for page in pages for one in read(page).items()):
        before = total.get(name, 0.0)
        total[name] = max(before, value) if name.endswith("seconds") else before + value
    silent = tuple(name for name, page in zip(workers, pages, strict=True) if not page)
    return total, silent


async def _page(sock: Path) -> str:
    try:
        _, body = await get(sock, "/metrics")
    except (OSError, TimeoutError, ValueError, LookupError):
        return ""
    return body.decode(errors="replace")


def read(page: str) -> dict[str, float]:
    """FIGURES of one metrics page, their labels added up. Pure."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name in FIGURES:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def judge(seen: Seen) -> list[Finding]:
    if seen.why:
        then = "It is asked about in PostgreSQL: put that right first."
        return [Finding(SUBJECT, "kill switch", "unseen", seen.why, then), *_doubt(seen)]
    return [_switch(seen.stops), *_doubt(seen), _drift(seen.drifts)]


def _switch(stops: Mapping[str, int]) -> Finding:
    if not stops:
        return well(SUBJECT, "kill switch", "nothing is stopped")
    text = "stopped: " + ", ".join(f"{n} {what}" for what, n in sorted(stops.items()))
    then = (
        "Meant? `portcullis halt list` says who did it, when and why. Release it only with "
        "whoever engaged it."
    )
    return Finding(SUBJECT, "kill switch", "warning", text, then)


def _doubt(seen: Seen) -> list[Finding]:
    if seen.silent:
        then = "See processes; what is in doubt there is asked about when it is back."
        return [
            Finding(SUBJECT, "doubt", "unseen", f"no figures of {', '.join(seen.silent)}", then)
        ]
    orders = int(seen.figures.get("portcullis_orders_in_doubt", 0))
    oldest = seen.figures.get("portcullis_doubt_oldest_seconds", 0.0)
    found = [well(SUBJECT, "doubt", f"{orders} orders, the oldest for {oldest:.0f} s")]
    if orders:
        level: Level = "wrong" if oldest > DOUBT_OLD_S else "warning"
        then = (
            "`portcullis doubt list`: the broker is asked until it answers. Never send such an "
            "order again by hand: docs/operating/doubt.md."
        )
        found = [Finding(SUBJECT, "doubt", level, found[0].seen, then)]
    if breakers := int(seen.figures.get("portcullis_breakers_open", 0)):
        then = (
            "Opening orders wait there; exits still leave. See brokers, and "
            "docs/operating/execution.md."
        )
        found.append(Finding(SUBJECT, "breakers", "warning", f"{breakers} open", then))
    return found


def _drift(drifts: Mapping[str, int]) -> Finding:
    if not any(drifts.values()):
        return well(SUBJECT, "drift", "no account differs from its broker's book")
    text = ", ".join(f"{n} by {cause}" for cause, n in sorted(drifts.items()) if n)
    then = (
        "`portcullis drift list`: who traded there by hand, or what did we miss? "
        "docs/operating/reconciliation.md."
    )
    return Finding(SUBJECT, "drift", "warning", text, then)
