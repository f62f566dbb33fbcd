"""The filters of our own: addresses for the firewall, findings for `verify`."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from tests.unit.ansible.tree import ANSIBLE


def load(name: str) -> ModuleType:
    """As Ansible does: by its path, because ansible/ is no package of ours."""
    spec = importlib.util.spec_from_file_location(name, ANSIBLE / "plugins/filter" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


addresses, findings = load("addresses"), load("findings")


def test_a_controller_outside_its_networks_is_seen():
    assert addresses.within("10.66.0.1", ["192.0.2.0/24", "10.66.0.0/24"])
    assert not addresses.within("10.66.1.1", ["192.0.2.0/24", "10.66.0.0/24"])
    assert not addresses.within("10.66.0.1", [])


def test_an_address_of_the_other_family_is_in_no_network():
    assert not addresses.within("10.66.0.1", ["::/0"])


def test_what_is_no_network_is_an_error_and_not_left_out():
    with pytest.raises(ValueError, match="not-a-network"):
        addresses.of_family(["192.0.2.0/24", "not-a-network"], 4)


def test_networks_are_told_apart_by_family():
    mixed = ["192.0.2.1", "2001:db8::/32", "0.0.0.0/0"]
    assert addresses.of_family(mixed, 4) == ["192.0.2.1", "0.0.0.0/0"]
    assert addresses.of_family(mixed, 6) == ["2001:db8::/32"]


def test_a_setting_that_is_otherwise_or_missing_is_a_finding():
    found = findings.as_settings("permitrootlogin yes\nx11forwarding no\n# nothing 1\n\n")
    wanted = findings.as_settings("PermitRootLogin no\nX11Forwarding no\nMaxAuthTries 3")
    assert findings.differences(found, wanted, "sshd") == [
        "sshd: permitrootlogin is yes, should be no",
        "sshd: maxauthtries is not set, should be 3",
    ]


def test_numbers_and_their_texts_are_the_same_setting():
    found = findings.as_settings("net.ipv4.ip_forward = 0", "=")
    assert findings.differences(found, {"net.ipv4.ip_forward": 0}, "kernel") == []


def test_a_rule_that_was_added_by_hand_is_a_finding():
    wanted, found = "table x {\n  a\n}", "table x {\n  a\n  b\n}"
    assert findings.text_differences(found, wanted, "firewall") == ["firewall: +  b"]
    assert findings.text_differences(wanted, wanted, "firewall") == []


def test_a_mount_without_an_option_is_a_finding():
    item = {"path": "/tmp", "options": "rw,nodev,noexec,size=1G"}
    results = [{"item": item, "stdout": "rw,relatime,nodev\n"}]
    assert findings.mount_differences(results) == ["mount: /tmp is not noexec"]


def test_a_service_that_the_next_boot_would_not_start_is_a_finding():
    assert findings.unit_differences({"a": "enabled", "b": "disabled"}, ["a", "b", "c"]) == [
        "unit: b is disabled, should be enabled",
        "unit: c is not set, should be enabled",
    ]


def listener(address: str, port: int, protocol: str = "tcp") -> dict[str, object]:
    return {"address": address, "port": port, "protocol": protocol, "name": "x"}


def test_a_port_that_is_in_no_flow_is_a_finding_and_one_on_loopback_is_not():
    listeners = [listener("0.0.0.0", 22), listener("127.0.0.1", 6433), listener("::1", 25)]
    assert findings.strangers(listeners, [22]) == []
    assert findings.strangers([listener("*", 8080)], [22]) == [
        "open port: tcp 8080 (x) is in no flow"
    ]


def test_a_flow_over_tcp_opens_nothing_over_udp():
    assert findings.strangers([listener("0.0.0.0", 22, "udp")], [22]) == [
        "open port: udp 22 (x) is in no flow"
    ]


def test_a_target_that_does_not_answer_and_a_job_without_targets_are_findings():
    """In the words of Prometheus' /api/v1/targets."""
    up = {
        "labels": {"job": "node"},
        "scrapeUrl": "https://gw1:9100/metrics",
        "health": "up",
        "lastError": "",
    }
    down = {
        **up,
        "scrapeUrl": "https://gw2:9100/metrics",
        "health": "down",
        "lastError": "timed out",
    }
    assert findings.unreached([up], ["node"]) == []
    assert findings.unreached([up, down], ["node", "redis"]) == [
        "monitoring: Prometheus asks nobody as redis",
        "monitoring: https://gw2:9100/metrics is down: timed out",
    ]
