"""The three inventories: one, two with a witness, three; and what holds in all of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from ipaddress import ip_address, ip_network

import pytest

from tests.unit.ansible.tree import ANSIBLE, INVENTORIES, defaults, installation_variables, read

GROUPS = ("portcullis_data", "portcullis_quorum", "portcullis_app", "portcullis_monitoring")
DOCUMENTATION = ip_network("192.0.2.0/24")
each = pytest.mark.parametrize("inventory", INVENTORIES)


def hosts(inventory: str, group: str) -> list[str]:
    return list(read(ANSIBLE / "inventories" / inventory / "hosts.yml")[group]["hosts"])


def test_these_are_the_inventories():
    assert INVENTORIES == ["one", "three", "two_and_witness"]


@each
def test_what_holds_everywhere_stands_in_one_file(inventory):
    link = ANSIBLE / "inventories" / inventory / "group_vars" / "all" / "common.yml"
    assert link.is_symlink()
    assert link.resolve() == (ANSIBLE / "inventories" / "common.yml").resolve()


@each
def test_every_group_has_hosts_and_every_host_a_group(inventory):
    grouped = {host for group in GROUPS for host in hosts(inventory, group)}
    assert grouped == set(hosts(inventory, "all"))
    assert all(hosts(inventory, group) for group in GROUPS)


@each
def test_a_quorum_cannot_be_split_in_half(inventory):
    """An even number of voters stands no more losses than one fewer, and a cut leaves none with most."""
    assert len(hosts(inventory, "portcullis_quorum")) in (1, 3)


@each
def test_the_examples_addresses_are_nobodys(inventory):
    tree = read(ANSIBLE / "inventories" / inventory / "hosts.yml")
    addresses = [variables["ansible_host"] for variables in tree["all"]["hosts"].values()]
    assert all(ip_address(address) in DOCUMENTATION for address in addresses)
    assert len(set(addresses)) == len(addresses)


@each
def test_an_example_lets_nobody_in_until_a_key_is_put_there(inventory):
    people = installation_variables(inventory)["portcullis_administrators"]
    assert people
    assert all(person["keys"] == [] for person in people)


def test_only_a_cluster_has_an_address_that_moves():
    assert installation_variables("one")["portcullis_vip"] == ""
    assert installation_variables("three")["portcullis_vip"]


def test_every_flow_names_a_group_a_port_and_who_may_come():
    common = read(ANSIBLE / "inventories" / "common.yml")
    for flow in common["portcullis_flows"] + common["portcullis_protocols"]:
        assert flow["to"] in ("all", *GROUPS), flow
        assert set(flow.get("groups", [])) <= set(GROUPS), flow
        assert flow.get("groups") or flow.get("networks"), flow
        assert "port" in flow or "protocol" in flow, flow


def test_no_two_programs_want_one_port():
    common = read(ANSIBLE / "inventories" / "common.yml")
    ports = [*common["portcullis_ports"].values()]
    ports += [common["portcullis_public_port"], common["portcullis_admin_port"]]
    assert len(set(ports)) == len(ports)


def test_what_plays_keep_beside_the_hosts_is_no_inventory(tmp_path):
    """Authorities, reports, archives: an inventory with any of them is read as it was before the first play."""
    inventory = shutil.copytree(ANSIBLE / "inventories" / "three", tmp_path / "inventory")
    for kept in ("pki/etcd/authority.key", "evidence/hardening.json", "support/gw1.tar"):
        (inventory / kept).parent.mkdir(parents=True)
        (inventory / kept).write_text("no inventory: of any kind")
    listed = subprocess.run(
        ["ansible-inventory", "-i", str(inventory), "--list"],
        cwd=ANSIBLE, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert set(json.loads(listed.stdout)["portcullis_app"]["hosts"]) == {"gw1", "gw2", "gw3"}


@each
def test_verify_finds_each_path_without_the_roles_that_made_what_is_there(inventory):
    """Its play includes single task files: a default of a role that is not in it is nothing there."""
    assert installation_variables(inventory)["pki_host_directory"] == "{{ portcullis_etc }}/pki"
    assert "pki_host_directory" not in defaults("pki")
