"""The broker adapters of this host, made from the settings' `[brokers.…]` tables.

A table's name is a folder of fanout/brokers/; its content is read by that folder's own settings
struct, so a wrong key is refused with its path here, before anything connects. Beside each real
broker stands one on paper that imitates it, for shadows (tenancy/paper.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from fanout.brokers.gateio.adapter import GateioBroker
from fanout.brokers.gateio.settings import GateioSettings
from fanout.brokers.gateio_spot.adapter import GateioSpotBroker
from fanout.brokers.gateio_spot.settings import GateioSpotSettings
from fanout.brokers.paper.adapter import PaperBroker
from fanout.brokers.paper.rules import RULES, Imitated
from fanout.brokers.paper.settings import PaperSettings
from fanout.brokers.shioaji.adapter import ShioajiBroker
from fanout.brokers.shioaji.settings import ShioajiSettings, path_of
from fanout.brokers.signing import HsmRequestSigner, SigningClient
from fanout.budget import MakesPace, alone
from fanout.ports import Broker
from fanout.remembered import RememberedPositions
from tenancy.clock import Clock
from tenancy.database import Database
from tenancy.errors import ConfigurationError
from tenancy.paper import shadow_broker

S = TypeVar("S")


def make_brokers(
    tables: Mapping[str, Mapping[str, Any]],
    *,
    signer: SigningClient,
    database: Database,
    clock: Clock,
    pace: MakesPace = alone,
) -> dict[str, Broker]:
    """One adapter per table; not opened yet. `pace`: keeps them within their limits.

    Raises ConfigurationError.
    """
    unknown = set(tables) - {"gateio", "gateio_spot", "paper", "shioaji"}
    if unknown:
        raise ConfigurationError(f"brokers: no adapter is named {', '.join(sorted(unknown))}")
    made: dict[str, Broker] = {}
    if "gateio" in tables:
        settings = _read("gateio", tables["gateio"], GateioSettings)
        budgets = pace(
            "gateio", limit=settings.orders_per_s, window_s=1.0, burst=settings.orders_burst
        )
        made["gateio"] = GateioBroker(settings, HsmRequestSigner(signer), clock, budgets=budgets)
    if "gateio_spot" in tables:
        spot = _read("gateio_spot", tables["gateio_spot"], GateioSpotSettings)
        budgets = pace(
            "gateio_spot", limit=spot.orders_per_s, window_s=1.0, burst=spot.orders_burst
        )
        made["gateio_spot"] = GateioSpotBroker(
            spot, HsmRequestSigner(signer), clock, budgets=budgets
        )
    if "shioaji" in tables:
        made["shioaji"] = ShioajiBroker(shioaji_settings(tables), clock)
    venues = list(made.values())
    if "paper" in tables:
        paper = _read("paper", tables["paper"], PaperSettings)
        # Without instruments of its own, paper follows the first real venue's prices.
        follows = venues[0].instruments if venues and not paper.instruments else None
        remembered = RememberedPositions(database)
        made["paper"] = PaperBroker(paper, clock, source=follows, remembered=remembered)
    for venue in venues:
        made |= _shadows(venue, tables.get("paper", {}), RememberedPositions(database), clock)
    return made


def _shadows(
    twin: Broker, paper: Mapping[str, Any], remembered: RememberedPositions, clock: Clock
) -> dict[str, Broker]:
    """Where the shadows of a broker's accounts trade: paper at its prices and by its rules, else as `paper` is."""
    own = _read("paper", paper, PaperSettings)
    twins: dict[str, Imitated] = {one: one for one in RULES if one is not None}
    imitates = twins.get(twin.name)
    settings = msgspec.structs.replace(
        own,
        instruments=[],
        prices_file=None,
        prices="market",
        imitates=imitates,
    )
    name = shadow_broker(twin.name)
    shadow = PaperBroker(settings, clock, source=twin.instruments, remembered=remembered, name=name)
    return {name: shadow}


def shioaji_settings(tables: Mapping[str, Mapping[str, Any]]) -> ShioajiSettings:
    """`[brokers.shioaji]`, for the adapter and for the sessions' processes. Raises ConfigurationError."""
    return _read("shioaji", tables["shioaji"], ShioajiSettings)


def _read(name: str, table: Mapping[str, Any], kind: type[S]) -> S:
    try:
        return msgspec.convert(table, kind, dec_hook=path_of)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"brokers.{name}: {error}") from None
