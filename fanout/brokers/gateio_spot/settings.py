"""What an operator decides about Gate.io spot beside what fanout/brokers/gate/settings.py asks."""

from __future__ import annotations

from decimal import Decimal

from fanout.brokers.gate import hosts
from fanout.brokers.gate.settings import GateSettings
from fanout.brokers.gate.stream_settings import StreamSettings


class GateioSpotSettings(GateSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table `[brokers.gateio_spot]`. Raises ValueError (msgspec: ValidationError) where values clash."""

    quote: str = "USDT"
    """Pairs against this currency are traded, and equity is reckoned in it."""
    market_slip_bps: int
    """How far beyond the best ask a market order may buy, in basis points: at Gate such an order is sized in
    quote, so what is sent is a limit order that is filled at once or not (wire.py)."""

    environment: hosts.Environment = "live"
    """`testnet` for a testnet host. The other one's hosts are refused."""
    stream: StreamSettings = StreamSettings()
    """The WebSocket connections: `[brokers.gateio_spot.stream]`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        hosts.check(self.environment, self.base_url, "base_url")
        if self.stream.url is not None:
            hosts.check(self.environment, self.stream.url, "stream.url")
        if not 1 <= self.market_slip_bps <= 1000:
            raise ValueError(f"market_slip_bps must be 1 to 1000, got {self.market_slip_bps}")
        if not self.quote.isalnum() or self.quote != self.quote.upper():
            raise ValueError(f"quote must be a currency such as USDT, got {self.quote!r}")

    @property
    def market_slip(self) -> Decimal:
        """As a fraction."""
        return Decimal(self.market_slip_bps) / 10_000

    @property
    def stream_url(self) -> str:
        return self.stream.url or hosts.spot_stream(self.base_url)
