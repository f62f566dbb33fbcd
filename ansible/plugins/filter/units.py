"""Filters on units: the names of the services that a table of units comes to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def services(units: Iterable[Mapping[str, Any]]) -> list[str]:
    """In the table's order; a template (`worker@`) is as many as its `instances`: worker@0, worker@1."""
    return [
        f"{unit['name']}{instance}"
        for unit in units
        for instance in (range(int(unit["instances"])) if "instances" in unit else [""])
    ]


class FilterModule:
    """Where Ansible looks."""

    def filters(self) -> dict[str, Any]:
        return {"services": services}
