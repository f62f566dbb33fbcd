"""Fixture modules for every test, and a wall: a test reaches loopback and Unix sockets only."""

from __future__ import annotations

import gc
import ipaddress
import sys
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).parent / "fixtures"

pytest_plugins = sorted(
    f"tests.fixtures.{path.stem}" for path in FIXTURES.glob("*.py") if path.stem != "__init__"
)


def refuse_the_world(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook (PEP 578): cannot be undone by a test, and sees every library's sockets."""
    if event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and not _is_here(address[0]):
            raise RuntimeError(f"a test tried to reach {address}: loopback and Unix sockets only")
    elif event == "socket.getaddrinfo" and not _is_here(arguments[0]):
        raise RuntimeError(f"a test tried to look up {arguments[0]!r}")


def _is_here(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


sys.addaudithook(refuse_the_world)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, then those that need servers: two processes end together that way.

    A file stays whole and in its order. Without this the longest file begins last, and one process
    waits minutes for the other (ops/check.py says `--no-loadscope-reorder` for the same reason).
    """

    def rank(item: pytest.Item) -> int:
        marks = {mark.name for mark in item.iter_markers()}
        return 0 if "slow" in marks else 1 if "stack" in marks else 2

    of_file: dict[Path, int] = {}
    for item in items:
        of_file[item.path] = min(rank(item), of_file.get(item.path, 2))
    items.sort(key=lambda item: of_file[item.path])


def pytest_collection_finish() -> None:
    """What was imported stays for ever, so no collection has to walk through it again.

    Measured on two busy cores: 0.42 to 0.52 s for one of the oldest generation, longer than the 0.4 s within
    which some tests' clients want a connection. The same test failed each time, the one that it fell into.
    """
    gc.collect()
    gc.freeze()
