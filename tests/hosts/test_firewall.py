"""A firewall that would lock its administrator out: refused where that is seen, taken back where it is not."""

from __future__ import annotations

import json
import time

from tests.hosts.host import Host
from tests.hosts.lab import Lab

ROLLBACK_S = 15


def rules(lab: Lab, host: Host) -> str:
    return lab.controller.ssh(host, "sudo nft --stateless list ruleset").stdout


def test_networks_without_the_controller_are_refused_before_anything_changes(deployed: Lab):
    host = deployed.hosts[0]
    before = rules(deployed, host)
    elsewhere = json.dumps({"portcullis_controller_networks": ["198.51.100.0/24"]})
    played = deployed.controller.play(
        "site", "--limit", host.name, "--tags", "firewall", "-e", elsewhere
    )
    assert played.status != 0
    assert "which is in none of" in played.text, played.end
    assert rules(deployed, host) == before


def test_a_firewall_that_locks_out_takes_itself_back(deployed: Lab):
    """Nothing sees this mistake before: a rule of the operator's own that drops ssh."""
    host = deployed.hosts[0]
    before = rules(deployed, host)
    mistake = {
        "hardening_firewall_first": ["tcp dport 22 drop"],
        "hardening_firewall_rollback_s": ROLLBACK_S,
    }
    played = deployed.controller.play(
        "site", "--limit", host.name, "--tags", "firewall", "-e", json.dumps(mistake)
    )
    assert played.status != 0
    assert "the host has gone back to the one before" in played.text, played.end
    until = time.monotonic() + 10 * ROLLBACK_S
    while rules(deployed, host) != before:
        assert time.monotonic() < until, "the old rules did not come back"
    boot = deployed.controller.ssh(host, "sudo cat /etc/nftables.conf").stdout
    assert "tcp dport 22 drop" not in boot, "the next boot would lock out again"
    assert deployed.controller.play("site", "--limit", host.name, "--tags", "firewall").worked
    assert deployed.controller.play("verify", "--limit", host.name).worked
