"""What an operator decides about Gate.io futures beside what fanout/brokers/gate/settings.py asks."""

from __future__ import annotations

from fanout.brokers.gate import hosts
from fanout.brokers.gate.settings import GateSettings
from fanout.brokers.gate.stream_settings import StreamSettings


class GateioSettings(GateSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table `[brokers.gateio]`. Raises ValueError (msgspec: ValidationError) where values clash."""

    settle: str = "usdt"
    """The settlement currency, which is part of every path."""
    environment: hosts.Environment = "live"
    """`testnet` for a testnet host. The other one's hosts are refused."""
    cancels_per_s: int = 200
    """Gate's limit per user id for cancelling."""
    asks_per_10s: int = 200
    """Gate's limit per user id for every other private endpoint, each by itself."""
    stream: StreamSettings = StreamSettings()
    """The WebSocket connections: `[brokers.gateio.stream]`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        hosts.check(self.environment, self.base_url, "base_url")
        if self.stream.url is not None:
            hosts.check(self.environment, self.stream.url, "stream.url")
        for name in ("cancels_per_s", "asks_per_10s"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be 2 or more, got {getattr(self, name)}")

    @property
    def stream_url(self) -> str:
        return self.stream.url or hosts.futures_stream(self.base_url, self.settle)
