"""The lab as a fixture: one for all tests of a run, because hosts are booted and deployed once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.hosts.client import Beside, beside
from tests.hosts.fund import new_fund
from tests.hosts.lab import Lab, lab
from tests.hosts.steady import steady


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--inventory",
        default="three",
        choices=("one", "two_and_witness", "three"),
        help="which of ansible/inventories/ the lab boots",
    )
    parser.addoption(
        "--machines", action="store_true", help="virtual machines in place of containers"
    )


@pytest.fixture(scope="session")
def booted(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Bare hosts, as a provider hands them over."""
    if os.geteuid() != 0:
        pytest.fail("the hosts suite makes namespaces and boots containers: run it as root")
    option = request.config.getoption
    with lab(option("--inventory"), machines=option("--machines")) as made:
        yield made


@pytest.fixture(scope="session")
def deployed(booted: Lab) -> Lab:
    """The same hosts after `site`."""
    played = booted.controller.play("site")
    assert played.worked, played.end
    return booted


@pytest.fixture(scope="session")
def trading(deployed: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    """A strategy of a new customer, on the client."""
    place = tmp_path_factory.mktemp("steady")
    asked = new_fund(deployed, place, "Steady Fund")
    with beside(deployed.wire, steady, asked, place / "words") as program:
        yield program
