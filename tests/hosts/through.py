"""One thing that happens to the hosts, from a steady rate to a steady rate, and what must hold of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.hosts.client import Beside
from tests.hosts.cluster import until, whole
from tests.hosts.lab import Lab
from tests.hosts.log import is_signed, written
from tests.hosts.steady import ACCOUNTS, Seen

SIGNED_S = 60.0

Happens = Callable[[Lab], Iterator[None]]
"""It does it and yields; when trading goes on, it brings back what it took."""


def nothing(lab: Lab) -> Iterator[None]:
    """A time in which nothing happens."""
    yield


def through(happens: Happens, lab: Lab, trading: Beside) -> Seen:
    """One fault, from a steady rate to a steady rate with every host back at its work."""
    seen = []
    begun = trading.ask("go", str)
    try:
        assert begun == "is"
        with contextmanager(happens)(lab):
            seen.append(trading.ask("sound", str))
        whole(lab)
        had = written(lab)
        until(lambda: is_signed(lab, had), SIGNED_S, "records are left without a signature")
        seen.append(trading.ask("sound", str))
    finally:
        told = trading.ask("stop", Seen)
    assert seen == ["is", "is"], told
    return told


def a_while(lab: Lab, trading: Beside) -> Seen:
    """A time in which there is trading, whatever else of the hosts is not well, and whatever is not signed."""
    try:
        assert trading.ask("go", str) == "is"
        sound = trading.ask("sound", str)
    finally:
        told = trading.ask("stop", Seen)
    assert sound == "is", told
    return told


def check(seen: Seen) -> None:
    assert seen.unfinished == []
    assert seen.doubled == []
    assert seen.missing == []
    assert seen.unasked == []
    assert sum(seen.states.values()) == seen.signals * ACCOUNTS
    assert seen.afterwards > 0
