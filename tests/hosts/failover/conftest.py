"""What the strategy saw of all faults: at the end on the screen for people, at once as a file for programs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tests.hosts.lab import CACHE
from tests.hosts.steady import Seen

FILE = CACHE.with_name("failover.json")
SEEN = pytest.StashKey[dict[str, Seen]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SEEN] = {}


@pytest.fixture(scope="session")
def keep(pytestconfig: pytest.Config) -> Callable[[str, Seen], None]:
    """What was seen of a fault, in the file at once: the next may end the run."""
    seen = pytestconfig.stash[SEEN]

    def write(name: str, one: Seen) -> None:
        seen[name] = one
        FILE.write_bytes(msgspec.json.format(msgspec.json.encode(seen)))

    return write


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    seen = config.stash[SEEN]
    if not seen:
        return
    terminalreporter.section(f"failover: {FILE}")
    for name, one in seen.items():
        terminalreporter.write_line(
            f"{name}: senders waited {one.outage_s:g} s, trading {one.trading_outage_s:g} s;"
            f" {one.signals} signals, {one.orders} orders;"
            f" answers {one.answers}; accounts {one.states} {one.reasons}"
        )
