"""docs/operating/network.md says what the firewall's rules say: each flow, from whom, to whom, on which port."""

from __future__ import annotations

import re

import pytest

from tests.unit.ansible.rendering import Installation
from tests.unit.ansible.tree import (
    ANSIBLE,
    INVENTORIES,
    ROLES,
    all_options,
    defaults,
    installation_variables,
    read,
)

PAGE = (ANSIBLE.parent / "docs/operating/network.md").read_text()
COMMON = read(ANSIBLE / "inventories/common.yml")
FIREWALL = ANSIBLE / "roles/hardening/templates/nftables.conf.j2"
Row = tuple[str, frozenset[str], str, str]


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The table of a section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def told() -> set[Row]:
    """As the page has them."""
    return {
        (what, frozenset(re.findall(r"`(\w+)`", source)), to.strip("`"), port)
        for what, source, to, port in rows("Into the hosts")
    }


def number(port: str) -> int:
    """`{{ portcullis_ports.x }}` or `{{ portcullis_y_port }}`."""
    name = port.strip("{} ")
    one = COMMON["portcullis_ports"].get(name.rpartition(".")[2])
    return one if one is not None else COMMON[name]


def wanted() -> set[Row]:
    """As the installation's variables have them."""
    found = set()
    for flow in COMMON["portcullis_flows"] + COMMON["portcullis_protocols"]:
        sources = set(flow.get("groups", []))
        if "networks" in flow:
            sources.add(flow["networks"].strip("{} "))
        port = f"TCP {number(flow['port'])}" if "port" in flow else f"protocol {flow['protocol']}"
        found.add((flow["name"], frozenset(sources), flow["to"], port))
    return found


def test_every_flow_is_on_the_page_and_every_row_of_it_is_a_flow() -> None:
    assert told() == wanted()
    assert len(rows("Into the hosts")) == len(told()), "a row stands there twice"


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_the_rules_of_a_host_are_the_rows_of_its_groups(inventory: str) -> None:
    house = Installation(inventory)
    rule = re.compile(r'(tcp dport|meta l4proto) (\d+) accept comment "([^"]+)"')
    for host in house.hosts:
        groups = {"all", *house.value("hardening", "group_names", host)}
        rules = rule.findall(house.render("hardening", FIREWALL, host))
        found = {
            (what, f"{'TCP' if 'tcp' in kind else 'protocol'} {port}") for kind, port, what in rules
        }
        assert found == {(what, port) for what, _, to, port in told() if to in groups}, host


def test_every_port_of_the_installation_is_on_the_page() -> None:
    for name, port in COMMON["portcullis_ports"].items():
        assert re.search(rf"(TCP |:){port}\b", PAGE), f"{name}, {port}"


def test_every_variable_that_the_page_names_is_one() -> None:
    known = set(COMMON)
    for inventory in INVENTORIES:
        known |= set(installation_variables(inventory)) | set(
            read(ANSIBLE / "inventories" / inventory / "hosts.yml")
        )
    for role in ROLES:
        known |= set(defaults(role)) | all_options(role)
    prefixes = "|".join(["portcullis", *ROLES])
    named = set(re.findall(rf"`((?:{prefixes})_\w+)`", PAGE))
    assert named
    assert named - known == set()
