"""The clock agent: ask chronyd, look at the clocks, leave a report for everybody, once a second.

1. Ask chronyd (ops/clock/ask.py), and where it is silent the kernel.
2. Read both clocks.
3. Decide the next report (ops/clock/measure.py).
4. Replace the file. *Crash before: the readers have the report before, which they believe for five
   seconds; after: the next agent goes on from this one, and finds what was stepped meanwhile.*

It reads only: it never sets a clock, and needs no privilege. Nobody waits for it, nothing of ours
ends with it: without it the clock is unknown after five seconds, and whoever wants a tier knows that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from ops.clock import metrics
from ops.clock.ask import ask
from ops.clock.kernel import Kernel, read_kernel
from ops.clock.measure import Look, next_report, step_ns
from ops.clock.settings import ClockSettings
from tenancy.clock_file import ClockFile, read_instants, read_report, write_report
from tenancy.clock_quality import Instants, Report, Tracking, judge
from tenancy.errors import Unavailable
from tenancy.pause import pause

EVERY_S = 1.0
FILE = "clock.json"

log = structlog.get_logger()


def clock_file(runtime: Path) -> Path:
    """Where the report is."""
    return runtime / FILE


class Agent:
    """Measures for the whole host. One per host: two would overwrite each other's reports."""

    def __init__(
        self,
        settings: ClockSettings,
        path: Path,
        *,
        instants: Callable[[], Instants] = read_instants,
        kernel: Callable[[], Kernel] = read_kernel,
        tracking: Callable[[], Awaitable[Tracking]] | None = None,
    ) -> None:
        """`instants`, `kernel` and `tracking` stand in for the machine's in tests."""
        self._settings = settings
        self._path = path
        self._instants = instants
        self._kernel = kernel
        self._ask = tracking or (lambda: ask(settings.chrony_host, settings.chrony_port))
        self._said = ""

    async def run(self, stop: asyncio.Event, *, every_s: float = EVERY_S) -> None:
        """Until `stop`. Raises OSError where the report cannot be written."""
        before = self._before()
        while not stop.is_set():
            before = await self.look(before)
            await pause(stop, every_s)

    async def look(self, before: Report | None) -> Report:
        """Steps 1 to 4, once."""
        tracking, why, kernel = None, "", Kernel(err_ns=None)
        try:
            tracking = await self._ask()
        except Unavailable as error:
            why, kernel = str(error), self._kernel()
        look = Look(instants=self._instants(), tracking=tracking, why=why, kernel=kernel)
        report = next_report(before, look, self._settings.error_max_ns)
        write_report(self._path, report)
        self._say(before, report, look.instants)
        return report

    def _before(self) -> Report | None:
        """The run's before; it may have been stepped since."""
        try:
            return read_report(self._path)
        except (OSError, ValueError):
            return None

    def _say(self, before: Report | None, report: Report, now: Instants) -> None:
        quality = judge(report, now)
        metrics.publish(quality, report)
        if before is not None and before.boot == now.boot and (by_ns := step_ns(before, now)):
            metrics.stepped(by_ns)
            log.warning("clock_stepped", by_ns=by_ns)
        said = f"{quality.state} {quality.src} {quality.why}"
        if said != self._said:
            self._said = said
            tell = log.info if quality.state == "ok" else log.warning
            tell("clock_state", state=quality.state, src=quality.src, err_ns=quality.err_ns,
                 why=quality.why)  # fmt: skip


async def seen(file: ClockFile) -> str:
    """A readiness check's words. It never fails: a clock that is off must not keep exits from leaving."""
    return file.quality().words
