"""The hardening report, gathered from booted hosts: nothing in it has failed, and it is about everything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.hosts.lab import Lab

UNITS = {
    "etcd", "haproxy", "keepalived", "patroni", "pgbouncer", "redis-server", "redis-sentinel",
    "portcullis-signer", "portcullis-enroller", "portcullis-clock", "portcullis-sealer", "portcullis-recorder",
    "portcullis-worker@0", "portcullis-admin", "portcullis-ingress@0", "prometheus-node-exporter",
}  # fmt: skip
CONTROLS = 30


@pytest.fixture(scope="module")
def report(deployed: Lab) -> dict[str, Any]:
    played = deployed.controller.play("evidence")
    assert played.worked, played.end
    (file,) = (deployed.controller.inventory / "evidence").glob("hardening-*.json")
    assert file.with_suffix(".md").read_text().startswith("# Hardening evidence")
    hosts: dict[str, Any] = json.loads(file.read_text())["hosts"]
    assert hosts.keys() == {host.name for host in deployed.hosts}
    return hosts


def test_no_unit_is_exposed_more_than_it_may_be(report: dict[str, Any]) -> None:
    for name, host in report.items():
        assert {one["unit"] for one in host["units"]} >= UNITS, name
        assert [one for one in host["units"] if not one["passed"]] == [], name


def test_every_control_that_a_container_can_show_is_in_force(report: dict[str, Any]) -> None:
    for name, host in report.items():
        assert len(host["controls"]) >= CONTROLS, name
        assert [one for one in host["controls"] if one["passed"] is False] == [], name
        assert sum(one["passed"] is True for one in host["controls"]) >= CONTROLS, name


def test_no_port_is_open_that_no_flow_names(report: dict[str, Any]) -> None:
    for name, host in report.items():
        assert host["strangers"] == [], name
        assert host["findings"] == [], name
