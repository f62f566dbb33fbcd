"""One strategy for all faults, and at the end what it saw: on the screen for people, as a file for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest

from tests.hosts.client import Beside, beside
from tests.hosts.failover.steady import Seen, steady
from tests.hosts.lab import CACHE, Lab
from tests.hosts.test_main_job import new_fund

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


@pytest.fixture(scope="session")
def trading(deployed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    """A strategy of a new customer, on the client."""
    place = tmp_path_factory.mktemp("steady")
    asked = new_fund(deployed, place)
    with beside(deployed.wire, steady, asked, place / "words") as program:
        yield program


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
