"""What an operator decides about Gate.io, futures and spot alike: where it is, how long to wait, how fast to go.

What protects has no default: time-outs, deadlines and rates are written down by somebody who
answers for them.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec


class GateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `[brokers.gateio]` and `[brokers.gateio_spot]` both say.

    Raises ValueError (msgspec: ValidationError) where values clash.
    """

    base_url: str
    """Scheme and host, `https://api.gateio.ws`; plain http only on loopback."""
    sign_timeout_s: float
    """How long a signature may take before the order counts as unsent."""
    connect_timeout_s: float
    """Free connection, DNS, TCP and TLS together. A failure in it is *unsent*."""
    request_timeout_s: float
    """From connection to last byte of the answer, connecting included. A failure in it is *doubt*."""
    exptime_ms: int
    """X-Gate-Exptime: for how long Gate may still take an order after it was sent (1500)."""
    clock_error_ms: int
    """By how much our clock and Gate's, and Gate's own among themselves, may differ: beyond it nothing is
    sent. Part of every wait for a proof of absence."""
    connections: int
    """At most this many connections to Gate, all accounts together."""
    connections_warm: int = 0
    """How many of them open() opens at once; orders then pay for no handshake."""
    keepalive_s: float = 30.0
    """Idle connections are dropped after this; below the server's own, so that it is not the one to cut."""
    orders_per_s: int
    """Gate's limit per user id for place and amend (100)."""
    orders_burst: int
    """How many of these may come at once; taken out of the limit, see fanout/budget.py."""
    instruments_refresh_s: float
    """How often the contract table and its prices are fetched."""
    instruments_max_age_s: float
    """Older prices are not used: instruments() then fetches, or raises Unavailable."""

    def __post_init__(self) -> None:
        _check_url(self.base_url)
        for name in (
            "sign_timeout_s",
            "connect_timeout_s",
            "request_timeout_s",
            "exptime_ms",
            "connections",
            "keepalive_s",
            "instruments_refresh_s",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than 0, got {getattr(self, name)}")
        if self.connect_timeout_s >= self.request_timeout_s:
            raise ValueError(
                f"connect_timeout_s ({self.connect_timeout_s}) must be below request_timeout_s"
                f" ({self.request_timeout_s}): else a slow connection looks like a lost order"
            )
        if self.clock_error_ms < 0:
            raise ValueError(f"clock_error_ms must not be negative, got {self.clock_error_ms}")
        if not 0 <= self.connections_warm <= self.connections:
            raise ValueError(f"connections_warm must be 0 to {self.connections} (connections)")
        if not 1 <= self.orders_burst < self.orders_per_s:
            raise ValueError(
                f"orders_burst must be 1 to {self.orders_per_s - 1} (below orders_per_s)"
            )
        if self.instruments_max_age_s < self.instruments_refresh_s:
            raise ValueError("instruments_max_age_s must not be below instruments_refresh_s")


def _check_url(base_url: str) -> None:
    parts = urlsplit(base_url)
    if not parts.hostname or parts.path or parts.query or parts.username:
        raise ValueError(f"base_url must be scheme and host only, got {base_url!r}")
    if parts.scheme == "https":
        return
    if parts.scheme != "http" or not _is_loopback(parts.hostname):
        raise ValueError(f"base_url must be https (http only on loopback), got {base_url!r}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
