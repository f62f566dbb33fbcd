"""Settings that would make Gate.io unsafe are refused at start."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fanout.brokers.gateio.settings import GateioSettings
from tests.unit.brokers.scripted_gate import settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "http://api.gateio.ws"},
        {"base_url": "https://api.gateio.ws/api/v4"},
        {"base_url": "https://user:pw@api.gateio.ws"},
        {"base_url": "ftp://127.0.0.1"},
        {"connect_timeout_s": 0.4},
        {"request_timeout_s": 0.0},
        {"sign_timeout_s": -1.0},
        {"exptime_ms": 0},
        {"clock_error_ms": -1},
        {"connections": 0},
        {"connections_warm": 5},
        {"orders_burst": 100},
        {"orders_burst": 0},
        {"instruments_max_age_s": 1.0},
    ],
)
def test_unsafe_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).split("_", maxsplit=1)[0]):
        settings(**({"url": "https://api.gateio.ws"} | _as_arguments(wrong)))


def _as_arguments(wrong: dict[str, Any]) -> dict[str, Any]:
    return {"url" if name == "base_url" else name: value for name, value in wrong.items()}


def test_what_protects_has_no_default() -> None:
    # Of the limits, only those that are the same for every customer of Gate's.
    optional = {"settle", "connections_warm", "keepalive_s", "environment", "stream"}
    optional |= {"cancels_per_s", "asks_per_10s"}
    fields = msgspec.structs.fields(GateioSettings)
    assert {field.name for field in fields if not field.required} == optional


def test_an_unknown_setting_is_refused_by_name() -> None:
    facts = msgspec.to_builtins(settings("https://api.gateio.ws")) | {"retries": 3}
    with pytest.raises(msgspec.ValidationError, match="retries"):
        msgspec.convert(facts, GateioSettings)
