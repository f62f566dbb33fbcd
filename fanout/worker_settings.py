"""What a worker is told: its periods and bounds, and whether its leases outlive its brokers' requests."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fanout.breaker import BreakerSettings
from fanout.patience import LEASE_MARGIN_S
from fanout.pictures import STALE_S
from fanout.ports import Broker
from fanout.proving import ProvingSettings
from tenancy.errors import ConfigurationError


class WorkerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds unless the name says otherwise. What protects has no default."""

    lease_ttl_s: float
    open_window_s: float
    signal_age_max_s: float
    lease_beat_s: float = 1.0
    sweep_s: float = 0.5
    follow_s: float = 1.0
    instruments_s: float = 2.0
    instruments_stale_s: float = STALE_S
    balances_s: float = 15.0
    durable_within_s: float = 4.0
    """An order that opens is not sent when its audit record took longer to be durable."""
    reconcile_s: float = 60.0
    """Between two comparisons of an account's book with its broker's."""
    stops_s: float = 0.5
    """Between two looks at the prices that held orders wait for."""
    doubts_s: float = 0.5
    """Between two looks at what people decided about orders in doubt; what was tried is written every fourth."""
    stuck_s: float = 5.0
    """An order that closes a position and cannot be sent is shown among what is in doubt after so long."""
    doubt_old_s: float = 60.0
    """What is in doubt for longer is told to people."""
    crowd: int = 16
    """While so many orders are on their way out, what is learned of others waits a moment (fanout/learner.py)."""
    proving: ProvingSettings = ProvingSettings()
    breaker: BreakerSettings = BreakerSettings()

    def check(self, brokers: Mapping[str, Broker]) -> None:
        """Raises ConfigurationError where a lease could end before the request it allowed."""
        for broker in brokers.values():
            least = broker.request_timeout_s + LEASE_MARGIN_S + 2 * self.lease_beat_s
            if self.lease_ttl_s < least:
                raise ConfigurationError(
                    f"worker.lease_ttl_s is {self.lease_ttl_s:g}: with {broker.name}'s"
                    f" request_timeout_s of {broker.request_timeout_s:g} it must be at least {least:g}"
                )
