"""A tenant, and what holds for everybody in it. The platform is one of them, of its own kind."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from tenancy.account_policy import OnDrift
from tenancy.clock_quality import ClockTier
from tenancy.limits import Limits
from tenancy.parameters import TradingState
from tenancy.rules import EACH_ONCE
from tenancy.values import Positive, positive, whole
from tenancy.windows import TradingDay

TenantKind = Literal["customer", "platform"]
FourEyes = Literal[
    "credentials",
    "limits",
    "live",
    "halt_release",
    "retention",
    "roles",
    "approvals",
    "drifts",
    "doubt",
]
"""Which changes need a second person. `limits`: upward. `live`: a paper account made live.
`approvals`: the switching off of signals by approval. `drifts`: what becomes of a difference between an
account's book and its broker's, and a policy that puts one right by itself. `doubt`: a word in a broker's
place."""
CurrencyPair = Annotated[str, msgspec.Meta(pattern=whole("[A-Z]{3,5}/[A-Z]{3,5}"), max_length=11)]


class TenantSettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Each with the product's value, which holds where the tenant says nothing."""

    four_eyes: Annotated[
        tuple[FourEyes, ...], msgspec.Meta(max_length=9, extra_json_schema=EACH_ONCE)
    ] = ()
    proposal_hours: Annotated[int, msgspec.Meta(ge=1, le=720)] = 72
    """After so long an undecided proposal is expired."""
    retention_years: Annotated[int, msgspec.Meta(ge=5, le=30)] = 7
    session_idle_minutes: Annotated[int, msgspec.Meta(ge=1, le=1440)] = 30
    session_max_hours: Annotated[int, msgspec.Meta(ge=1, le=168)] = 12
    signals_per_minute: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    """Over all hooks of the tenant together; absent: each hook's own limit is all."""
    requests_per_minute: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 600
    """Of the management API, all keys and people of the tenant together."""
    fx_rates: Annotated[dict[CurrencyPair, Positive], msgspec.Meta(max_length=200)] = {}
    """`"USD/TWD": "32.1"`: one unit of the first is so many of the second. Only the inverse follows."""
    trading_day: TradingDay = TradingDay()
    """When a new day begins for limits on a day's loss."""
    unsafe_credential: TradingState = "reducing"
    """What an account becomes whose live API key is found able to do more than trade; `active`: an alarm alone."""
    on_drift: OnDrift = "report"
    """What is done when an account's book and its broker's differ; an account may say otherwise."""
    correct_manual_orders: bool = False
    """Whether `correct` puts right what somebody traded by hand, too."""
    clock_tier: ClockTier | None = None
    """How near UTC the clock must be, by the rule that the tenant is under; over it is recorded in its log."""
    clock_stops: bool = False
    """Whether nothing is opened while the clock is over the tier, or not measured; what closes goes on."""

    def __post_init__(self) -> None:
        if self.clock_stops and self.clock_tier is None:
            raise ValueError("clock_stops: needs a clock_tier that the clock is over")
        if len(set(self.four_eyes)) != len(self.four_eyes):
            raise ValueError("four_eyes: each category at most once")
        for pair, rate in self.fx_rates.items():
            positive(rate, f"fx_rates.{pair}")


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole tenant lays down for trading in it: for the platform, for everybody."""

    state: TradingState = "active"
    limits: Limits = Limits()
    revision: int = 0
    fx_rates: dict[str, Decimal] = {}
    trading_day: TradingDay = TradingDay()
