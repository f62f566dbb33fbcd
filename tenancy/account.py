"""A client account at a broker, as a plan and an adapter need it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from tenancy.limits import Limits
from tenancy.parameters import TradingState
from tenancy.values import AccountID, GroupID, TenantID

DEAD_MAN_S = "dead_man_s"
"""In an account's `settings`: after so many seconds without us its broker cancels its open orders."""
OURS = frozenset({DEAD_MAN_S})
"""Keys of an account's `settings` that are the house's; the others are its broker's."""
POSITION_MODE = "position_mode"
"""In an account's `settings`, where the broker has a choice: one_way, or hedge."""
DEAD_MAN_LEAST_S, DEAD_MAN_MOST_S = 5, 3600


def check_dead_man(settings: Mapping[str, Any]) -> None:
    """Raises ValueError where `dead_man_s` is there and is none."""
    value = settings.get(DEAD_MAN_S)
    if value is not None and not dead_man_s(settings):
        raise ValueError(
            f"settings.{DEAD_MAN_S}: must be a whole number of seconds,"
            f" {DEAD_MAN_LEAST_S} to {DEAD_MAN_MOST_S}, got {value!r}; leave it out for none"
        )


def dead_man_s(settings: Mapping[str, Any]) -> float:
    """The seconds of an account's dead man's switch; 0: it wants none."""
    value = settings.get(DEAD_MAN_S)
    if not isinstance(value, int) or isinstance(value, bool):
        return 0.0
    return float(value) if DEAD_MAN_LEAST_S <= value <= DEAD_MAN_MOST_S else 0.0


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """As its row says it. `sealed` is the live credential's blob: useless outside the HSM."""

    account_id: AccountID
    tenant_id: TenantID
    name: str
    broker: str
    currency: str
    stated_equity: Decimal | None
    leverage: Decimal
    state: TradingState
    settings: dict[str, Any]
    part: int
    group_id: GroupID | None = None
    limits: Limits = Limits()
    archived: bool = False
    api_key: str | None = None
    sealed: bytes | None = None

    @property
    def hedged(self) -> bool:
        """Long and short of one symbol are held side by side, so an exit is for its own side only."""
        return self.settings.get(POSITION_MODE) == "hedge"

    def __repr__(self) -> str:
        return f"Account({self.name!r}, {self.broker}, {self.state})"
