"""What an operator decides about Gate.io's WebSocket connections, one per account's key."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

PER_IP = 300


class StreamSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table `stream` of a Gate.io adapter. Raises ValueError where values clash."""

    url: str | None = None
    """`wss://…`, plain ws only on loopback; nothing said: what belongs to base_url."""
    connections: int = PER_IP
    """At most this many at once; Gate allows 300 per IP, and every process of this host counts."""
    ping_s: float = 10.0
    """After so long without a word we ask for one."""
    silence_s: float = 30.0
    """After so long without a word the connection is taken for dead."""
    pause_s: float = 0.5
    """Before the first attempt to reconnect; doubles with each that fails."""
    pause_most_s: float = 30.0

    def __post_init__(self) -> None:
        if not 1 <= self.connections <= PER_IP:
            raise ValueError(f"connections must be 1 to {PER_IP}, got {self.connections}")
        if not 0 < self.ping_s < self.silence_s:
            raise ValueError(
                f"ping_s ({self.ping_s}) must be above 0 and below silence_s ({self.silence_s}): else a"
                " quiet connection looks like a dead one"
            )
        if not 0 < self.pause_s <= self.pause_most_s:
            raise ValueError(
                f"pause_s ({self.pause_s}) must be above 0 and not above pause_most_s"
                f" ({self.pause_most_s})"
            )
        if self.url is not None:
            _check_url(self.url)


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if (
        not parts.hostname
        or parts.username
        or not (parts.scheme == "wss" or (parts.scheme == "ws" and local))
    ):
        raise ValueError(f"url must be wss://host/path (ws only on loopback), got {url!r}")
