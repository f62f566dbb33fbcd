"""Under a steady rate of signed signals hosts die: nothing acknowledged is lost, nothing is traded twice.

How long senders and trading waited is told, not judged: hosts of the lab share two processors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts.bundle import next_release
from tests.hosts.client import Beside
from tests.hosts.failover.faults import FAULTS, upgraded
from tests.hosts.lab import CACHE, Lab
from tests.hosts.steady import Seen
from tests.hosts.through import check, through

Keep = Callable[[str, Seen], None]


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_and_nothing_is_traded_twice(
    name: str, deployed: Lab, trading: Beside, keep: Keep
) -> None:
    seen = through(FAULTS[name], deployed, trading)
    keep(name, seen)
    check(seen)


@pytest.fixture(scope="module")
def newer(deployed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The next release's bundle; and a young backup, without which nobody upgrades."""
    deployed.controller.said(deployed.hosts[-1], "sudo systemctl start portcullis-backup.service")
    return next_release(CACHE, tmp_path_factory.mktemp("next")).archive


def test_an_upgrade_and_the_way_back_lose_nothing(
    newer: Path, deployed: Lab, trading: Beside, keep: Keep
) -> None:
    def happens(lab: Lab) -> Iterator[None]:
        return upgraded(lab, newer)

    seen = through(happens, deployed, trading)
    keep("upgrade and rollback, host after host", seen)
    check(seen)
