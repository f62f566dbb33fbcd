"""Gate's rate limits: fixed windows per user (public data: per address) and kind of request.

Perpetual futures: placing and amending 100 in 1 s together, cancelling 200 in 1 s, each other
endpoint 200 in 10 s. Spot: placing and amending 10 in 1 s. Each order of a batch counts. The counts can
be changed over the control API.
"""

from __future__ import annotations

import msgspec

from loadtest.exchanges.gateio.refusal import Refusal


class Limits(msgspec.Struct, kw_only=True):
    """Requests per window: one second for orders and cancels, ten for the others."""

    orders_per_s: int = 100
    cancels_per_s: int = 200
    spot_orders_per_s: int = 10
    others_per_10_s: int = 200


class _Window(msgspec.Struct):
    ends: float
    used: int


class Limiter:
    """Counts requests. Refused ones do not count, as on the live venue's own documentation."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._windows: dict[tuple[str | int, str], _Window] = {}

    def count(self, who: str | int, endpoint: str, now: float, weight: int = 1) -> dict[str, str]:
        """The X-Gate-RateLimit headers. Raises TooMany, which carries them as well."""
        limit, span_s = self._limit(endpoint)
        window = self._windows.get((who, endpoint))
        if window is None or now >= window.ends:
            window = self._windows[who, endpoint] = _Window(now + span_s, 0)
        if window.used + weight > limit:
            raise TooMany(rate_headers(limit, limit - window.used, window.ends))
        window.used += weight
        return rate_headers(limit, limit - window.used, now)

    def _limit(self, endpoint: str) -> tuple[int, float]:
        if endpoint == "orders":
            return self.limits.orders_per_s, 1.0
        if endpoint == "spot_orders":
            return self.limits.spot_orders_per_s, 1.0
        if endpoint in ("cancels", "spot_cancels"):
            return self.limits.cancels_per_s, 1.0
        return self.limits.others_per_10_s, 10.0


class TooMany(Refusal):
    """429 with the headers that say when to come back."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__("TOO_MANY_REQUESTS", "Request Rate limit Exceeded")
        self.headers = headers


def rate_headers(limit: int, remain: int, reset: float) -> dict[str, str]:
    """Gate's three headers; `reset` in Unix seconds, rounded up."""
    return {
        "X-Gate-RateLimit-Requests-Remain": str(remain),
        "X-Gate-RateLimit-Limit": str(limit),
        "X-Gate-RateLimit-Reset-Timestamp": str(int(reset) + (reset % 1 > 0)),
    }
