"""From bare hosts to what `site` promises: deployed once, nothing left to change, and verified."""

from __future__ import annotations

import subprocess

from tests.hosts.cluster import firing, until
from tests.hosts.lab import Lab
from tests.hosts.network import within

FIRES_S = 180.0
TRUE_AT_FIRST = {
    "PortcullisMonitoringIsAlive", "PortcullisBackupOld", "PortcullisBackupUndrilled",
    "PortcullisClockUnknown", "PortcullisClockBoundGrows", "PortcullisHostUnitFailed auditd.service",
    "PortcullisBrokerDown",
}  # fmt: skip


def test_a_second_deployment_changes_nothing(deployed: Lab):
    played = deployed.controller.play("site")
    assert played.worked, played.end
    assert played.changed == []


def test_verify_finds_nothing_on_hosts_just_deployed(deployed: Lab):
    played = deployed.controller.play("verify")
    assert played.worked, played.end
    assert played.changed == []


def test_verify_says_what_somebody_undid(deployed: Lab):
    """A setting, a rule, a port: each asked of what is in force, because the files still say the right thing."""
    host = deployed.hosts[0]
    undo = [
        "sudo sysctl -qw net.ipv4.conf.all.accept_redirects=1",
        "sudo nft insert rule inet portcullis input tcp dport 4444 accept",
        "sudo systemd-run --quiet --unit=stranger python3 -m http.server 4444",
        "sudo chmod 0644 /etc/nftables.conf",
    ]
    mend = [
        "sudo systemctl restart systemd-sysctl",
        "sudo nft -f /etc/nftables.conf",
        "sudo systemctl stop stranger",
        "sudo chmod 0600 /etc/nftables.conf",
    ]
    for command in undo:
        done = deployed.controller.ssh(host, command)
        assert done.returncode == 0, done.stderr
    try:
        played = deployed.controller.play("verify", "--limit", host.name)
    finally:
        mended = [deployed.controller.ssh(host, command).returncode for command in mend]
    assert played.status != 0
    for finding in (
        "kernel: net.ipv4.conf.all.accept_redirects is 1, should be 0",
        "firewall: +",
        "open port: tcp 4444",
        "file: /etc/nftables.conf is root:root:644, should be root:root:600",
    ):
        assert finding in played.text, played.end
    assert mended == [0, 0, 0, 0]
    assert deployed.controller.play("verify", "--limit", host.name).worked


def test_nobody_is_called_for_hosts_just_deployed(deployed: Lab) -> None:
    """But for what is so: no backup and no exchange yet, and in a container neither clock nor audit of its own."""
    until(lambda: firing(deployed) <= TRUE_AT_FIRST, FIRES_S, "somebody is called")


def test_a_client_finds_no_ssh_and_no_database(deployed: Lab):
    """From the fourth namespace, which is in none of the controller's networks."""
    for host in deployed.hosts:
        for port in (22, 5432, 2379, 6379, 8008):
            knock = f"exec 3<>/dev/tcp/{host.address}/{port}"
            command = within(deployed.wire.client, "timeout", "2", "bash", "-c", knock)
            done = subprocess.run(command, capture_output=True, check=False)
            assert done.returncode == 124, f"{host.name}:{port} answered a stranger"


def test_nobody_gets_in_as_root_or_by_a_password(deployed: Lab):
    words = deployed.controller.ssh(deployed.hosts[0], "sudo sshd -T").stdout.splitlines()
    assert {"permitrootlogin no", "passwordauthentication no"} <= set(words)
