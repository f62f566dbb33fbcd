"""Which clock records are due: the operator log's and each tenant's that has a tier. Pure.

| event | log | when |
| --- | --- | --- |
| `began` | operator | the recorder starts: how the clock is |
| `state` | operator | ok, degraded, unknown: it is another one |
| `step` | operator | the time of day jumped, by `by_ns` |
| `sync` | operator | every hour: chrony's figures, and the worst bound of the hour (FINRA 4590's sync log) |
| `over_tier` | tenant | the bound is over the tenant's tier, or there is none |
| `within_tier` | tenant | it has been within the tier for ten seconds again |

What becomes worse is said at once; that it is well again is said after it has been so for RETURN_NS,
so that a bound that wavers about its limit fills no log. Times of durations are since boot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from tenancy.clock_quality import SECOND, TIERS_NS, ClockTier, Quality, Report

RETURN_NS = 10 * SECOND
SYNC_EVERY_NS = 3600 * SECOND
STRICTNESS = {"ok": 0, "degraded": 1, "unknown": 2}


class Note(msgspec.Struct, frozen=True):
    """One record that is due. `tenant` None: the operator log."""

    tenant: UUID | None
    ts_ns: int
    facts: dict[str, Any]


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The clock at one moment. `boottime_ns` orders looks, `wall_ns` dates records."""

    wall_ns: int
    boottime_ns: int
    quality: Quality
    report: Report | None = None


class _Side:
    """One thing that is well or worse, with the patience for its return."""

    def __init__(self) -> None:
        self.said = 0
        self._better_since: int | None = None

    def moves_to(self, level: int, boottime_ns: int) -> bool:
        """Whether this level is to be said now."""
        if level >= self.said:
            self._better_since = None
            worse, self.said = level > self.said, level
            return worse
        if self._better_since is None:
            self._better_since = boottime_ns
        if boottime_ns - self._better_since < RETURN_NS:
            return False
        self.said, self._better_since = level, None
        return True


class Story:
    """What this recorder has said so far of its host's clock."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._state: _Side | None = None
        self._tenants: dict[UUID, tuple[ClockTier, _Side]] = {}
        self._synced_ns = 0
        self._worst_ns: int | None = 0

    def look(self, look: Look, tiers: Mapping[UUID, ClockTier]) -> list[Note]:
        """The records that this look makes due, in order."""
        notes = self._of_host(look)
        for tenant in set(self._tenants) - set(tiers):
            del self._tenants[tenant]
        for tenant, tier in sorted(tiers.items()):
            notes += self._of_tenant(look, tenant, tier)
        return notes

    def step(self, look: Look, by_ns: int) -> Note:
        """The time of day jumped."""
        return self._note(look, "step", by_ns=by_ns)

    def _of_host(self, look: Look) -> list[Note]:
        err_ns = look.quality.err_ns
        level = STRICTNESS[look.quality.state]
        if self._state is None:
            self._state = _Side()
            self._state.said = level
            self._synced_ns, self._worst_ns = look.boottime_ns, err_ns
            return [self._note(look, "began", **_figures(look.report))]
        worst = self._worst_ns
        self._worst_ns = None if worst is None or err_ns is None else max(worst, err_ns)
        notes = []
        if self._state.moves_to(level, look.boottime_ns):
            notes.append(self._note(look, "state", **_figures(look.report)))
        if look.boottime_ns - self._synced_ns >= SYNC_EVERY_NS:
            figures = _figures(look.report) | {"worst_err_ns": self._worst_ns}
            notes.append(self._note(look, "sync", **figures))
            self._synced_ns, self._worst_ns = look.boottime_ns, err_ns
        return notes

    def _of_tenant(self, look: Look, tenant: UUID, tier: ClockTier) -> list[Note]:
        known = self._tenants.get(tenant)
        if known is None or known[0] != tier:
            known = self._tenants[tenant] = (tier, _Side())
        over = not look.quality.within(TIERS_NS[tier])
        if not known[1].moves_to(int(over), look.boottime_ns):
            return []
        event = "over_tier" if over else "within_tier"
        return [self._note(look, event, tenant, tier=tier, tier_ns=TIERS_NS[tier])]

    def _note(self, look: Look, event: str, tenant: UUID | None = None, **facts: object) -> Note:
        said = look.quality
        about = {
            "event": event, "host": self._host, "state": said.state, "src": said.src,
            "err_ns": said.err_ns, "why": said.why,
        }  # fmt: skip
        return Note(tenant, look.wall_ns, about | facts)


def _figures(report: Report | None) -> dict[str, Any]:
    """chrony's own figures, whole numbers all."""
    if report is None or report.tracking is None:
        return {}
    return {"chrony": msgspec.to_builtins(report.tracking), "error_max_ns": report.error_max_ns}
