"""What an operator decides about Gate.io futures beside what fanout/brokers/gate/settings.py asks."""

from __future__ import annotations

from fanout.brokers.gate.settings import GateSettings


class GateioSettings(GateSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table `[brokers.gateio]`. Raises ValueError (msgspec: ValidationError) where values clash."""

    settle: str = "usdt"
    """The settlement currency, which is part of every path."""
