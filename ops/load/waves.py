"""Who sends what in which scenario. Pure.

- **knee**: one wave, whose search is the run.
- **neighbour**: all tenants send their share all the time; for a while the first sends many times its own.
- **soak**: one rate, measured again and again.
- **overload**: half of a knee is sent all the time; for a while all tenants send several knees.

A loud wave has processes of its own, so that steady senders are not slowed by the same generator.
"""

from __future__ import annotations

from loadtest.swarm.course import Timing
from loadtest.swarm.run import Range
from ops.bench.crowd import Following
from ops.load.ground import Wave
from ops.load.settings import WINDOWS, Settings

START_S = 20.0
"""By so much a loud wave may be late: its processes start meanwhile."""


def main_wave(crowd: list[Following], settings: Settings) -> Wave:
    """The search; of a scenario the steady senders, as long as all of it takes."""
    search = Range(
        start=settings.start, most=settings.most, growth=settings.growth,
        precision=settings.precision, tries=settings.tries,
    )  # fmt: skip
    timing = settings.timing
    if settings.scenario == "soak":
        search = Range(start=settings.start, most=settings.start, times=WINDOWS)
        timing = Timing(
            settle_s=timing.settle_s, rest_s=timing.rest_s,
            measure_s=settings.soak_s / WINDOWS - timing.settle_s,
        )  # fmt: skip
    elif settings.scenario != "knee":
        search = Range(start=settings.steady, most=settings.steady, tries=1)
        noise = settings.noise
        whole_s = noise.quiet_s + START_S + noise.loud_s + noise.after_s
        timing = Timing(settle_s=timing.settle_s, measure_s=whole_s, rest_s=timing.rest_s)
    return Wave(
        strategies=crowd, search=search, timing=timing,
        api_users=settings.api_users, streams=settings.streams,
    )  # fmt: skip


def loud_wave(tenants: list[list[Following]], crowd: list[Following], settings: Settings) -> Wave:
    """What comes on top: more senders than strategies, so that many signals of one are under way at once."""
    return Wave(
        strategies=tenants[0] if settings.scenario == "neighbour" else crowd,
        search=Range(start=settings.loud, most=settings.loud, tries=1),
        timing=Timing(settle_s=1.0, measure_s=settings.noise.loud_s),
    )
