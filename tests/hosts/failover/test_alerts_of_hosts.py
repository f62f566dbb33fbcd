"""Each alert of dedicated hosts is fired by a real fault on booted ones, and ends with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.hosts.cluster import firing, primary, until, whole
from tests.hosts.lab import Lab

FIRES_S = 480.0
CERTIFICATE, TOLD = "/etc/portcullis/pki/lab", "/var/lib/host-certificates/certificates.prom"
LOOK = "sudo systemctl start host-certificates.service"
SMALL, FAILING = "/srv/lab-small", "portcullis-lab-fails"

Fault = Callable[[Lab], Iterator[None]]


def host_is_off(lab: Lab) -> Iterator[None]:
    """One that is neither the primary's nor the last, where Prometheus is."""
    victim = next(host for host in lab.hosts[:-1] if host is not primary(lab))
    victim.kill()
    yield
    victim.boot()


def etcd_is_stopped(lab: Lab) -> Iterator[None]:
    yield from _stopped(lab, "etcd", 1)


def standbys_are_stopped(lab: Lab) -> Iterator[None]:
    leader = primary(lab)
    others = [host for host in lab.hosts if host is not leader]
    for host in others:
        lab.controller.said(host, "sudo systemctl stop patroni")
    yield
    for host in others:
        lab.controller.said(host, "sudo systemctl start patroni")


def all_databases_are_stopped(lab: Lab) -> Iterator[None]:
    yield from _stopped(lab, "patroni", len(lab.hosts))


def job_fails(lab: Lab) -> Iterator[None]:
    host = lab.hosts[0]
    lab.controller.ssh(host, f"sudo systemd-run --unit={FAILING} --property=Type=oneshot false")
    yield
    lab.controller.said(host, f"sudo systemctl reset-failed {FAILING}")


def disk_is_full(lab: Lab) -> Iterator[None]:
    host = lab.hosts[0]
    made = f"sudo mkdir -p {SMALL} && sudo mount -t tmpfs -o size=8M lab-small {SMALL}"
    lab.controller.said(
        host, f"{made} && sudo head -c 7900K /dev/zero | sudo tee {SMALL}/file >/dev/null"
    )
    yield
    lab.controller.said(host, f"sudo umount {SMALL} && sudo rmdir {SMALL}")


def certificate_ends_soon(lab: Lab) -> Iterator[None]:
    """One of two days, beside those that role pki made."""
    host = lab.hosts[0]
    made = f"sudo mkdir {CERTIFICATE} && sudo openssl req -x509 -days 2 -nodes -subj /CN=lab -newkey rsa:2048"
    lab.controller.said(
        host, f"{made} -keyout {CERTIFICATE}/key -out {CERTIFICATE}/certificate.pem && {LOOK}"
    )
    yield
    lab.controller.said(host, f"sudo rm -r {CERTIFICATE} && {LOOK}")


def nobody_looks_at_certificates(lab: Lab) -> Iterator[None]:
    host = lab.hosts[0]
    lab.controller.said(host, f"sudo systemctl stop host-certificates.timer && sudo rm {TOLD}")
    yield
    lab.controller.said(host, f"sudo systemctl start host-certificates.timer && {LOOK}")


def _stopped(lab: Lab, unit: str, hosts: int) -> Iterator[None]:
    for host in lab.hosts[:hosts]:
        lab.controller.said(host, f"sudo systemctl stop {unit}")
    yield
    for host in lab.hosts[:hosts]:
        lab.controller.said(host, f"sudo systemctl start {unit}")


FAULTS: dict[Fault, set[str]] = {
    host_is_off: {"PortcullisHostAway", "PortcullisHostPartUnseen"},
    etcd_is_stopped: {"PortcullisHostUnitStopped etcd.service"},
    job_fails: {f"PortcullisHostUnitFailed {FAILING}.service"},
    disk_is_full: {"PortcullisHostDiskFull"},
    certificate_ends_soon: {
        "PortcullisHostCertificateExpiresSoon",
        "PortcullisHostCertificateExpiring",
    },
    nobody_looks_at_certificates: {"PortcullisHostCertificatesUnseen"},
    standbys_are_stopped: {"PortcullisDatabaseWithoutStandby"},
    all_databases_are_stopped: {"PortcullisDatabaseWithoutPrimary"},
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_somebody_is_called_and_until_it_is_over(fault: Fault, deployed: Lab) -> None:
    wanted = FAULTS[fault]
    assert wanted.isdisjoint(firing(deployed))
    with contextmanager(fault)(deployed):
        until(lambda: wanted <= firing(deployed), FIRES_S, f"not fired: {wanted}")
    until(lambda: wanted.isdisjoint(firing(deployed)), FIRES_S, f"still there: {wanted}")
    whole(deployed)
