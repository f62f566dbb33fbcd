"""What is asked of a run, and whether it can be."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import msgspec

from loadtest.swarm.course import Timing
from loadtest.swarm.knee import Objectives

Scenario = Literal["knee", "neighbour", "overload", "soak"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)


WINDOWS = 12
"""Into so many equal parts a soak is cut."""


class Delay(msgspec.Struct, frozen=True):
    """How long the broker takes over `share` of its orders, before it executes them."""

    ms: float
    share: float = 1.0

    @classmethod
    def read(cls, text: str) -> Delay:
        """`20`, or `400:0.01` for one order of a hundred. Raises ValueError."""
        ms, _, share = text.partition(":")
        try:
            made = cls(float(ms), float(share or 1))
        except ValueError:
            made = cls(-1.0)
        if not (0 <= made.ms <= 60_000 and 0 < made.share <= 1):
            raise ValueError(
                f"--broker-delay {text}: milliseconds from 0 to 60000, and after a colon the part of the"
                " orders that it is for, as in 400:0.01"
            )
        return made


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """What comes on top of the steady senders of a scenario, for a while."""

    factor: float | None = None
    """neighbour: how many times its share the loud tenant sends (20); overload: how many knees all send (5)."""
    quiet_s: float = 15.0
    loud_s: float = 20.0
    after_s: float = 15.0

    def __post_init__(self) -> None:
        for name in ("quiet_s", "loud_s", "after_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: more than 0 seconds, not {getattr(self, name):g}")
        if self.factor is not None and self.factor <= 1:
            raise ValueError(f"factor: more than 1, not {self.factor:g}")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `strategies` and `followers`: of each tenant, of each strategy.

    `start_per_s`: the first rate of a search; in `neighbour` what all tenants send together, in `overload` the
    knee, as a search found it; in `soak` the one rate, for `soak_s`.
    """

    scenario: Scenario = "knee"

    tenants: int = 2
    strategies: int = 16
    followers: int = 10
    pace_per_s: float = 2.0
    start_per_s: float = 4.0
    soak_s: float = 1800.0
    most_per_s: float | None = None
    """None: as much as all strategies send at their pace."""
    delays: tuple[Delay, ...] = (Delay(20.0),)
    api_users: int = 2
    api_pace_per_s: float = 2.0
    streams: int = 2
    workers: int = 2
    ingress: int = 1
    generators: int = 2
    growth: float = 2.0
    precision: float = 0.1
    tries: int = 2
    objectives: Objectives = Objectives()
    timing: Timing = Timing()
    noise: Noise = Noise()

    def __post_init__(self) -> None:
        for name in ("tenants", "strategies", "followers", "workers", "ingress", "generators"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: 1 or more, not {getattr(self, name)}")
        for name in ("api_users", "streams"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: 0 or more, not {getattr(self, name)}")
        for name in ("pace_per_s", "start_per_s", "api_pace_per_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: more than 0, not {getattr(self, name):g}")
        if self.scenario == "soak" and self.soak_s < WINDOWS * 2 * self.timing.settle_s:
            least = WINDOWS * 2 * self.timing.settle_s / 60
            raise ValueError(f"minutes: {least:g} or more, not {self.soak_s / 60:g}")
        if self.scenario == "neighbour" and self.tenants < 2:
            raise ValueError("tenants: a neighbour has others beside it, so 2 or more, not 1")
        if not 1 <= self.start <= self.most <= self.all_strategies:
            pace = self.pace_per_s
            raise ValueError(
                f"rates: from {self.start * pace:g} to {self.most * pace:g} signals/s was asked for; {pace:g}"
                f" to {self.all_strategies * pace:g} can be sent by {self.all_strategies} strategies at"
                f" {pace:g}/s each. Ask for other rates, more strategies, or another pace"
            )

    @property
    def all_strategies(self) -> int:
        return self.tenants * self.strategies

    @property
    def accounts(self) -> int:
        return self.all_strategies * self.followers

    @property
    def start(self) -> int:
        """Senders of the first step."""
        return self._senders(self.start_per_s)

    @property
    def most(self) -> int:
        """Senders of the largest."""
        return self.all_strategies if self.most_per_s is None else self._senders(self.most_per_s)

    @property
    def factor(self) -> float:
        return self.noise.factor or (20.0 if self.scenario == "neighbour" else 5.0)

    @property
    def steady(self) -> int:
        """Senders of a scenario that send all the time: all tenants' shares; half a knee in `overload`."""
        part = 0.5 if self.scenario == "overload" else 1.0
        return max(1, self._senders(self.start_per_s * part))

    @property
    def loud(self) -> int:
        """Senders more, while it is loud, so that the loud tenant, or all together, send the factor."""
        if self.scenario == "neighbour":
            return self._senders((self.factor - 1) * self.start_per_s / self.tenants)
        return self._senders(self.factor * self.start_per_s) - self.steady

    def _senders(self, per_s: float) -> int:
        return math.ceil(round(per_s / self.pace_per_s, 6))


def fault_rules(delays: tuple[Delay, ...]) -> list[dict[str, Any]]:
    """The delays as rules of the exchange, of which the first that hits acts: the rarest first.

    A rule sees only what those before it left: its probability is its share of that.
    """
    rules, left = [], 1.0
    for seed, delay in enumerate(sorted(delays, key=lambda one: one.share)):
        probability = min(1.0, delay.share / left) if left > 0 else 0.0
        left -= delay.share
        if delay.ms and probability:
            rule = {"kind": "delay_before", "seconds": delay.ms / 1000, "seed": seed}
            rules.append({**rule, "probability": probability})
    return rules
