"""Every template, rendered by Ansible for every host of every inventory, and read by the real program."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.unit.ansible.rendering import Installation
from tests.unit.ansible.tree import ANSIBLE, INVENTORIES, UIDS

TEMPLATES = sorted((ANSIBLE / "roles").glob("*/templates/*.j2"))
FIREWALL = ANSIBLE / "roles" / "hardening" / "templates" / "nftables.conf.j2"
KEEPALIVED = ANSIBLE / "roles" / "keepalived" / "templates" / "keepalived.conf.j2"
CHRONY = ANSIBLE / "roles" / "clock" / "templates" / "chrony.conf.j2"


SECRETS = {"redis_keeper_password": "from a vault"}
UNSIGNED = {
    "redis/tls.j2", "redis/state.conf.j2", "redis/sentinel-state.conf.j2", "redis/portcullis.acl.j2",
    "pgbouncer/users.txt.j2",
}  # fmt: skip
"""A part of another file; what Redis and Sentinel go on writing themselves; formats that know no comment."""
LOOPED = {
    "portcullis/unit.service.j2": "portcullis_units",
    "portcullis/needs.conf.j2": "portcullis_units",
    "portcullis/socket.j2": "portcullis_sockets",
    "backup/unit.service.j2": "backup_units",
    "backup/unit.conf.j2": "backup_units",
    "monitoring/unit.conf.j2": "monitoring_here",
    "monitoring/web.yml.j2": "monitoring_with_web_settings",
}
"""A template that a task writes once for every `item` of a variable."""
TOLD = {
    "bundle/bundle.sources.j2": {"bundle_at": "/opt/portcullis-bundles/1"},
    "portcullis/signer.toml.j2": {"portcullis_uids": UIDS},
    "portcullis/enroller.toml.j2": {"portcullis_uids": UIDS},
}
"""What a template is told by the tasks before it."""


@pytest.fixture(scope="module", params=INVENTORIES)
def installation(request: pytest.FixtureRequest) -> Installation:
    return Installation(request.param)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: f"{path.parts[-3]}/{path.stem}")
def test_it_renders_for_every_host(installation, template):
    role = template.parts[-3]
    name = f"{role}/{template.name}"
    for host in installation.hosts:
        items = installation.value(role, LOOPED[name], host) if name in LOOPED else [None]
        assert items
        for item in items:
            told = TOLD.get(name, {})
            text = installation.render(role, template, host, item=item, **SECRETS, **told)
            if name not in UNSIGNED:
                assert "Written by Ansible" in text, "it does not say who wrote it"
            assert not re.search(r"\{\{|\{%|\bNone\b|AnsibleUndefined", text)


def nft(rules: str) -> subprocess.CompletedProcess[str]:
    """Loaded into a network namespace that ends with the command: the rules are the kernel's to judge."""
    command = ["unshare", "--map-root-user", "--net", "nft", "-f", "-"]
    return subprocess.run(command, input=rules, capture_output=True, text=True, check=False)


def test_the_kernel_takes_every_hosts_firewall(installation):
    for host in installation.hosts:
        done = nft(installation.render("hardening", FIREWALL, host))
        assert done.returncode == 0, done.stderr


def test_a_rule_of_the_operators_own_comes_before_ours():
    rules = Installation("one").render(
        "hardening", FIREWALL, "gw1", hardening_firewall_first=["ip saddr 198.51.100.7 drop"]
    )
    assert nft(rules).returncode == 0
    assert rules.index("198.51.100.7") < rules.index('comment "ssh"')


def test_a_witness_lets_nobody_at_what_it_does_not_run():
    """It votes: etcd and Sentinel, and ssh. No database, no signals, no administration."""
    rules = Installation("two_and_witness").render("hardening", FIREWALL, "witness")
    ports = {int(port) for port in re.findall(r"tcp dport (\d+)", rules)}
    assert ports == {22, 2379, 2380, 26379, 9100}
    assert "l4proto 112" not in rules


def test_the_database_is_reached_from_hosts_of_ours_only():
    rules = Installation("two_and_witness").render("hardening", FIREWALL, "gw1")
    (sources,) = re.findall(r"ip saddr \{ ([^}]+) \} tcp dport 5432 ", rules)
    assert set(sources.split(", ")) == {"192.0.2.11", "192.0.2.12"}


def test_a_card_with_a_clock_of_its_own_is_asked_before_the_network():
    text = Installation("one").render(
        "clock",
        CHRONY,
        "gw1",
        clock_ptp_interface="eth0",
        clock_card={"stdout": "Time stamping parameters\nPTP Hardware Clock: 3\n"},
    )
    assert "refclock PHC /dev/ptp3 tai" in text


def test_a_host_of_its_own_names_no_peers_for_keepalived_takes_no_empty_list():
    alone = Installation("one").render("keepalived", KEEPALIVED, "gw1")
    assert "unicast" not in alone
    house = Installation("three")
    for host in house.hosts:
        text = house.render("keepalived", KEEPALIVED, host)
        (peers,) = re.findall(r"unicast_peer \{\n([^}]+)\}", text)
        own = re.findall(r"unicast_src_ip (\S+)", text)
        assert len(peers.split()) == len(house.hosts) - 1
        assert len(own) == 1
        assert own[0] not in peers.split()
