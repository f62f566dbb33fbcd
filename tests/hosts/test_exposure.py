"""How exposed each unit is, as systemd says it of what runs: docs/operating/hardening.md names the exceptions."""

from __future__ import annotations

import json
import re

from tests.hosts.host import Host
from tests.hosts.lab import Lab

OURS = re.compile(
    r"(portcullis-.+|prometheus.*|etcd|patroni|pgbouncer|haproxy|keepalived|redis-.+)[.]service"
)
MOST = 1.5
MOST_OF = {
    "portcullis-signer.service": 0.5,
    "portcullis-recorder.service": 0.5,
    # Ports below 1024, and whoever asks from anywhere.
    "haproxy.service": 1.8,
    # Addresses, raw packets, and a check that another user runs.
    "keepalived.service": 3.3,
}


def exposures(lab: Lab, host: Host) -> dict[str, float]:
    """Of the units that run there and are ours to confine."""
    said = lab.controller.ssh(host, "sudo systemd-analyze security --no-pager --json=short")
    assert said.returncode == 0, said.stderr
    return {
        one["unit"]: float(one["exposure"])
        for one in json.loads(said.stdout)
        if OURS.fullmatch(one["unit"])
    }


def test_no_unit_is_exposed_more_than_it_may_be(deployed: Lab) -> None:
    for host in deployed.hosts:
        found = exposures(deployed, host)
        assert found.keys() >= {*MOST_OF, "portcullis-worker@0.service", "patroni.service"}
        over = {name: level for name, level in found.items() if level > MOST_OF.get(name, MOST)}
        assert over == {}, host.name
