"""What only hosts with kernels of their own can show: AppArmor, audit, limits of memory, a pulled cable.

Of the suite `machines` alone: containers have the kernel of who runs them.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.hosts.client import as_client
from tests.hosts.cluster import whole
from tests.hosts.fund import new_fund
from tests.hosts.lab import Lab
from tests.hosts.main_job import SIGNALS, trade
from tests.hosts.test_sandbox import LEFT_OUT, UNIT

GREEDY = "portcullis-ingress@0"
TAKES_ALL = "/usr/bin/python3 -c 'held = [bytearray(1 << 24) for _ in range(1 << 12)]'"


def test_apparmor_enforces(deployed: Lab) -> None:
    for host in deployed.hosts:
        told = json.loads(deployed.controller.said(host, "sudo aa-status --json"))
        modes = set(told["profiles"].values())
        assert "enforce" in modes, host
        confined = told["processes"]["/usr/sbin/chronyd"]
        assert {one["status"] for one in confined} == {"enforce"}, host


def test_audit_has_written_who_changed_the_accounts(deployed: Lab) -> None:
    host = deployed.hosts[0]
    deployed.controller.said(host, "sudo touch /etc/passwd")
    found = deployed.controller.said(
        host, "sudo ausearch --input-logs --key identity --start recent --raw"
    )
    assert "/etc/passwd" in found


def test_a_unit_that_takes_more_memory_than_it_may_is_ended_and_nothing_else_is(
    deployed: Lab,
) -> None:
    host, controller = deployed.hosts[0], deployed.controller
    text = LEFT_OUT.sub("", controller.said(host, f"sudo systemctl cat {GREEDY}.service"))
    controller.put(
        host, UNIT, text + f"\n[Service]\nType=exec\nRestart=no\nExecStart={TAKES_ALL}\n"
    )
    name = Path(UNIT).stem
    try:
        controller.said(
            host, f"sudo systemctl daemon-reload && sudo systemctl start --wait {name}; true"
        )
        ended = controller.said(host, f"systemctl show --property=Result --value {name}").strip()
    finally:
        controller.said(
            host,
            f"sudo rm {UNIT} && sudo systemctl reset-failed {name}; sudo systemctl daemon-reload",
        )
    assert ended == "oom-kill"
    controller.said(host, "sudo systemctl is-active patroni portcullis-recorder etcd")


def test_all_hosts_come_back_from_a_power_cut_and_trade(deployed: Lab, tmp_path: Path) -> None:
    for host in deployed.hosts:
        host.kill()
    for host in deployed.hosts:
        host.boot()
    whole(deployed)
    told = as_client(deployed.wire, trade, new_fund(deployed, tmp_path, "After The Cut"))
    assert len(told.answered) == len(SIGNALS)
    assert [one.outcome["state"] for one in told.answered] == ["done"] * len(SIGNALS)
