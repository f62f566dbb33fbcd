"""From inside each unit's sandbox a probe fails to reach what its process must not; outside it reaches all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.hosts.host import Host
from tests.hosts.lab import Lab

PROBE = Path(__file__).with_name("probe.py")
THERE = "/opt/portcullis/lab-probe.py"
UNIT = "/etc/systemd/system/lab-probe.service"
TOLD = "/run/lab-probe.json"
PYTHON = "/opt/portcullis/current/bin/python"
REACHED = "reached"
LEFT_OUT = re.compile(
    r"^(Exec(?:Start|Stop|Reload|Condition)\w*|Sockets|Requires|After|Wants|PartOf|WantedBy|Restart\w*|WatchdogSec|Type|NotifyAccess)=.*$",
    re.M,
)
"""Of a unit's text: what it runs, how that is begun, and what hangs on it. The sandbox is all the rest."""

TOKENS = {"read: /var/lib/portcullis/hsm"}
LOG = {"write: /var/lib/portcullis/audit"}
NETWORK = {"network: another host", "network: a port of this host", "network: a packet"}
MAY = {
    "portcullis-signer": TOKENS,
    "portcullis-enroller": TOKENS,
    "portcullis-sealer": LOG,
    "portcullis-recorder": LOG,
    "portcullis-clock": NETWORK,
    "portcullis-worker@0": NETWORK,
    "portcullis-admin": NETWORK,
    "portcullis-ingress@0": set[str](),
}
"""What of it is a process' work: its own files, and a network for whom docs/operating/network.md gives one."""


@pytest.fixture(scope="module")
def host(deployed: Lab) -> Host:
    found = deployed.hosts[0]
    deployed.controller.put(found, THERE, PROBE.read_text())
    return found


@pytest.fixture(scope="module")
def probe(deployed: Lab) -> str:
    return f"{PYTHON} {THERE} {deployed.hosts[1].address}"


def test_outside_of_a_sandbox_root_reaches_all_of_it(deployed: Lab, host: Host, probe: str) -> None:
    """Otherwise the probe would prove nothing."""
    found = json.loads(deployed.controller.said(host, f"sudo {probe}"))
    assert {name for name, came in found.items() if came != REACHED} == set()


@pytest.mark.parametrize("unit", MAY)
def test_from_inside_it_reaches_its_own_alone(
    unit: str, deployed: Lab, host: Host, probe: str
) -> None:
    text = LEFT_OUT.sub("", deployed.controller.said(host, f"sudo systemctl cat {unit}.service"))
    text += f"\n[Service]\nType=oneshot\nExecStart={probe}\nStandardOutput=truncate:{TOLD}\n"
    deployed.controller.put(host, UNIT, text)
    try:
        deployed.controller.said(
            host, "sudo systemctl daemon-reload && sudo systemctl start lab-probe"
        )
        found = json.loads(deployed.controller.said(host, f"sudo cat {TOLD}"))
    finally:
        deployed.controller.said(host, f"sudo rm {UNIT} && sudo systemctl daemon-reload")
    assert {name for name, came in found.items() if came == REACHED} <= MAY[unit]
