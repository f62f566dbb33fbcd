"""One of every adapter, made as in production and opened by nobody: for tests of what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fanout.brokers.gateio.adapter import GateioBroker
from fanout.brokers.gateio_spot.adapter import GateioSpotBroker
from fanout.brokers.paper.adapter import PaperBroker
from fanout.brokers.paper.settings import PaperSettings
from fanout.brokers.shioaji.adapter import ShioajiBroker
from fanout.brokers.template.adapter import TemplateBroker
from fanout.ports import Broker
from tenancy.clock import SystemClock
from tests.contract.shioaji_venue import shioaji_settings
from tests.contract.template_venue import TinySigner, template_settings
from tests.contract.venues import BTC, gateio_settings, gateio_spot_settings
from tests.fakes.signer import InProcessSigner

ADAPTERS: dict[str, Callable[[], Broker]] = {
    "gateio": lambda: GateioBroker(
        gateio_settings("http://127.0.0.1:1"), InProcessSigner({}), SystemClock()
    ),
    "gateio_spot": lambda: GateioSpotBroker(
        gateio_spot_settings("http://127.0.0.1:1"), InProcessSigner({}), SystemClock()
    ),
    "paper": lambda: PaperBroker(PaperSettings(instruments=[BTC]), SystemClock()),
    "shioaji": lambda: ShioajiBroker(shioaji_settings(Path("/nowhere")), SystemClock()),
    "template": lambda: TemplateBroker(
        template_settings("http://127.0.0.1:1"), TinySigner(), SystemClock()
    ),
}
"""By the name of the folder; a second one of a folder has a dash and a word behind it."""
