"""The shape of a run: as many senders as the search wants (loadtest/swarm/course.py), judged by what all
generators counted and by what the exchange executed. Decides nothing itself.
"""

from __future__ import annotations

import json
import time
import urllib.request
from contextlib import suppress

import locust.runners
from locust import LoadTestShape
from locust.exception import StopTest
from locust.runners import Runner

from loadtest.locustfiles.consoles import ConsoleUser
from loadtest.locustfiles.programs import ProgramUser
from loadtest.locustfiles.webhooks import NAME, RUN, StrategyUser
from loadtest.swarm.course import Course, Totals
from loadtest.swarm.run import Steps, write_steps

# As fast as the exchange is asked: what generators tell late must not look like orders that are owed.
locust.runners.WORKER_REPORT_INTERVAL = 0.5

FAILED = 3
"""Status of a master whose search failed."""

__all__ = ["ConsoleUser", "KneeShape", "ProgramUser", "StrategyUser"]


class KneeShape(LoadTestShape):
    """One search for the knee, or one soak; Locust asks it once a second."""

    def __init__(self) -> None:
        super().__init__()
        self._course = Course(
            RUN.search.schedule(), RUN.objectives, RUN.timing, followers=RUN.followers
        )
        self._told = 0
        self._executed_last = 0

    def tick(self) -> tuple[int, float] | None:
        assert self.runner is not None
        try:
            return self._next(self.runner)
        except Exception as error:  # otherwise Locust goes on for ever with as many as there are
            self.runner.environment.process_exit_code = FAILED
            raise StopTest(f"the search failed: {error!r}") from error

    def _next(self, runner: Runner) -> tuple[int, float] | None:
        senders = self._course.at(self._totals(runner))
        if len(self._course.steps) > self._told or senders is None:
            self._told = len(self._course.steps)
            search = self._course.search
            done = Steps(steps=tuple(self._course.steps), good=search.good, found=search.found)
            write_steps(RUN.directory, done)
        if senders is None:
            return None
        users = senders + RUN.api_users + RUN.streams
        return users, users

    def _totals(self, runner: Runner) -> Totals:
        entry = runner.stats.get(NAME, "POST")
        return Totals(
            at_s=time.time(), sent=entry.num_requests, failed=entry.num_failures,
            executed=self._executed(), took_ms=dict(entry.response_times),
        )  # fmt: skip

    def _executed(self) -> int:
        """Of an exchange too busy to say: as many as it said last, which looks like orders that are owed."""
        with suppress(OSError):
            url = f"{RUN.exchange}/_control/stats"
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback
                self._executed_last = int(json.load(answer)["orders"])
        return self._executed_last
