"""The host's clock: how far from UTC it can be, who says so, and whether time zones are known here."""

from __future__ import annotations

import time
import zoneinfo
from typing import NamedTuple

from ops.clock.agent import clock_file
from ops.clock.ask import ask
from ops.clock.kernel import read_kernel
from ops.doctor.finding import Finding, well
from ops.doctor.looking import Ground
from tenancy.clock_file import ClockFile
from tenancy.clock_quality import Quality
from tenancy.errors import Unavailable

SUBJECT = "clock"
ZONES = ("UTC", "Asia/Taipei", "America/New_York", "Europe/Berlin")
"""A few that trading windows use: where they are missing, the package tzdata is."""


class Seen(NamedTuple):
    """`chronyd`: empty where it answered, else why not. `kernel_err_ns`: None, it calls itself
    unsynchronised. `asked`: [clock] is in the settings."""

    asked: bool
    error_max_ms: float
    quality: Quality
    chronyd: str
    kernel_err_ns: int | None
    zone: str
    zones_missing: tuple[str, ...]


async def examine(ground: Ground) -> list[Finding]:
    return judge(await look(ground))


async def look(ground: Ground) -> Seen:
    own = ground.settings.clock
    why = "the settings have no [clock]"
    if own is not None:
        try:
            await ask(own.chrony_host, own.chrony_port)
            why = ""
        except Unavailable as error:
            why = str(error)
    return Seen(
        asked=own is not None,
        error_max_ms=0.0 if own is None else own.error_max_ms,
        quality=ClockFile(clock_file(ground.settings.instance.runtime)).quality(),
        chronyd=why,
        kernel_err_ns=read_kernel().err_ns,
        zone=f"{time.tzname[0]} (UTC{time.strftime('%z')})",
        zones_missing=tuple(name for name in ZONES if not _known(name)),
    )


def judge(seen: Seen) -> list[Finding]:
    return [_error(seen), _source(seen), _zones(seen)]


def _error(seen: Seen) -> Finding:
    what, words = "error", seen.quality.words
    if not seen.asked:
        then = "Add [clock] with error_max_ms to the settings and restart; docs/operating/clock.md."
        return Finding(SUBJECT, what, "warning", "nobody measures it", then)
    if seen.quality.state == "ok":
        return well(SUBJECT, what, words)
    if seen.quality.state == "degraded":
        then = (
            "Tenants that want a clock tier open nothing now. `chronyc tracking` and "
            "`chronyc sources`:"
            " are the servers reachable? Never step the clock by hand while orders are out."
        )
        return Finding(SUBJECT, what, "wrong", f"{words}; allowed {seen.error_max_ms:g} ms", then)
    then = (
        "Tenants that want a clock tier open nothing now; all others trade on. Is the "
        "process clock-0"
        " up, and chronyd installed and running (`systemctl status chrony`)?"
    )
    return Finding(SUBJECT, what, "warning", words, then)


def _source(seen: Seen) -> Finding:
    what = "synchronisation"
    if not seen.chronyd:
        return well(SUBJECT, what, "chronyd answers and follows a source")
    if seen.kernel_err_ns is not None:
        then = (
            "Use chrony: what another daemon tells the kernel meets no tier "
            "(docs/operating/clock.md)."
        )
        at_most = f"{seen.kernel_err_ns / 1e6:.1f} ms by the kernel"
        return Finding(SUBJECT, what, "warning", f"{seen.chronyd}; {at_most}", then)
    then = "`apt-get install chrony`, name your time servers, then `chronyc waitsync`."
    return Finding(SUBJECT, what, "warning", f"{seen.chronyd}; the kernel is unsynchronised", then)


def _zones(seen: Seen) -> Finding:
    if seen.zones_missing:
        missing = f"not known here: {', '.join(seen.zones_missing)}"
        then = "`apt-get install tzdata`, then restart: trading windows cannot be reckoned without."
        return Finding(SUBJECT, "time zones", "wrong", missing, then)
    return well(SUBJECT, "time zones", f"known; the host's is {seen.zone}, ours is always UTC")


def _known(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return False
    return True
