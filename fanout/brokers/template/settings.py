"""What an operator decides about the broker: where it is, how long to wait, how fast to go.

What protects has no default: time-outs, deadlines and rates are written down by somebody who answers
for them. An unknown key is refused, with its path.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec


class TemplateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table `[brokers.template]`. Raises ValueError (msgspec: ValidationError) where values clash."""

    base_url: str
    """Scheme and host; plain http only on loopback."""
    sign_timeout_s: float
    connect_timeout_s: float
    request_timeout_s: float
    """For the whole request, connecting included. Longer than `connect_timeout_s`."""
    exptime_ms: int
    """How long after its signature the broker may still take an order."""
    orders_per_s: int
    orders_burst: int
    instruments_max_age_s: float

    def __post_init__(self) -> None:
        _check_url(self.base_url)
        for name in ("sign_timeout_s", "connect_timeout_s", "exptime_ms", "instruments_max_age_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be greater than 0, got {getattr(self, name)}")
        if self.connect_timeout_s >= self.request_timeout_s:
            raise ValueError(
                f"connect_timeout_s ({self.connect_timeout_s}) must be below request_timeout_s"
                f" ({self.request_timeout_s}): else a slow connection looks like a lost order"
            )
        if not 1 <= self.orders_burst < self.orders_per_s:
            raise ValueError(f"orders_burst must be 1 to {self.orders_per_s - 1} (orders_per_s)")


def _check_url(base_url: str) -> None:
    parts = urlsplit(base_url)
    if not parts.hostname or parts.path or parts.query or parts.username:
        raise ValueError(f"base_url must be scheme and host only, got {base_url!r}")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise ValueError(f"base_url must be https (http only on loopback), got {base_url!r}")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
