"""What an adapter's Caps claim it can do, it has the methods for; and it has none that it does not claim."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from fanout import abilities
from fanout.ports import Caps
from tests.contract.adapters import ADAPTERS

CLAIMS = {
    "statement": abilities.Statement,
    "balances": abilities.HasBalances,
    "amend": abilities.Amends,
    "cancel_all": abilities.CancelsAll,
    "protects": abilities.Protects,
    "dead_man": abilities.DeadMan,
    "tells": abilities.Tells,
    "batch_max": abilities.Batches,
}


def methods(protocol: type) -> Iterator[str]:
    return (name for name, _ in inspect.getmembers(protocol, inspect.isfunction) if name[0] != "_")


def claimed(caps: Caps, ability: str) -> bool:
    value = getattr(caps, ability)
    return value > 1 if ability == "batch_max" else value


def test_every_folder_of_an_adapter_is_looked_at() -> None:
    folders = Path(str(import_module("fanout.brokers").__file__)).parent.glob("*/adapter.py")
    assert {path.parent.name for path in folders} == {name.split("-")[0] for name in ADAPTERS}


@pytest.mark.parametrize("ability", CLAIMS)
@pytest.mark.parametrize("adapter", sorted(ADAPTERS))
def test_an_adapter_has_the_methods_of_what_its_caps_claim_and_no_others(
    adapter: str, ability: str
) -> None:
    broker = ADAPTERS[adapter]()
    for method in methods(CLAIMS[ability]):
        wanted = inspect.signature(getattr(CLAIMS[ability], method))
        found = getattr(type(broker), method, None)
        if claimed(broker.caps, ability):
            assert found is not None, f"{adapter} claims {ability} and has no {method}()"
            assert list(inspect.signature(found).parameters) == list(wanted.parameters)
        elif found is not None:
            pytest.fail(f"{adapter} has {method}() and does not claim {ability}")
