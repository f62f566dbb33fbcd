"""What happens to the hosts. Each does it and yields; when trading goes on, it brings back what it took."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.hosts.bundle import bundle
from tests.hosts.cluster import (
    carrier,
    etcd_leader,
    primary,
    redis_master,
    until_another,
)
from tests.hosts.host import Host
from tests.hosts.lab import CACHE, Lab
from tests.hosts.through import Happens

WATCH_S = 30
"""How long the drill watches each thing that moves; two of the three take longest to come to rest."""


def primary_dies(lab: Lab) -> Iterator[None]:
    victim = primary(lab)
    victim.kill()
    try:
        yield
    finally:
        victim.boot()


def primary_is_cut_off(lab: Lab) -> Iterator[None]:
    victim = primary(lab)
    lab.wire.cut(victim.number)
    try:
        yield
    finally:
        lab.wire.mend(victim.number)


def way_in_dies(lab: Lab) -> Iterator[None]:
    """The host with the VIP. It is not the primary's: that would be another fault at once."""
    victim = carrier(lab)
    if victim is primary(lab):
        lab.controller.said(victim, "sudo systemctl restart keepalived")
        until_another(carrier, lab, victim)
        victim = carrier(lab)
    victim.kill()
    try:
        yield
    finally:
        victim.boot()


def redis_dies(lab: Lab) -> Iterator[None]:
    yield from _killed(lab, redis_master(lab), "redis-server")


def etcd_dies(lab: Lab) -> Iterator[None]:
    """The leader, of three."""
    yield from _killed(lab, etcd_leader(lab), "etcd")


def _killed(lab: Lab, host: Host, unit: str) -> Iterator[None]:
    """By SIGKILL, and not started again."""
    lab.controller.said(host, f"sudo systemctl kill -s KILL {unit} && sudo systemctl stop {unit}")
    try:
        yield
    finally:
        lab.controller.said(host, f"sudo systemctl start {unit}")


def power_fails(lab: Lab) -> Iterator[None]:
    """Every host at once, and none gets a last word."""
    for host in lab.hosts:
        host.kill()
    for host in lab.hosts:
        host.boot()
    yield


def drilled(lab: Lab) -> Iterator[None]:
    """All that may move moves as planned, by the playbook: the primary, Redis' master, the VIP."""
    played = lab.controller.play("failover-drill", "-e", f"drill_watch_s={WATCH_S}")
    assert played.worked, played.end
    yield


def upgraded(lab: Lab, newer: Path) -> Iterator[None]:
    """Another release with a schema of its own, host after host, and back again; by the playbooks."""
    for playbook, archive in (("upgrade", newer), ("rollback", bundle(CACHE).archive)):
        played = lab.controller.play(playbook, "-e", f"portcullis_bundle={archive}")
        assert played.worked, played.end
    yield


def host_burns_down(lab: Lab) -> Iterator[None]:
    """One that is neither the primary's nor the first, where ceremonies are held; set up anew by the playbook."""
    victim = next(host for host in lab.hosts[1:] if host is not primary(lab))
    lab.replace(victim)
    played = lab.controller.play("add-host", "-e", f"host={victim.name}")
    assert played.worked, played.end
    yield


FAULTS: dict[str, Happens] = {
    "the primary's host dies": primary_dies,
    "the primary is cut off": primary_is_cut_off,
    "the host with the VIP dies": way_in_dies,
    "Redis' master dies": redis_dies,
    "etcd's leader dies": etcd_dies,
    "the power fails everywhere": power_fails,
    "all is moved as planned": drilled,
    "a host burns down and is set up anew": host_burns_down,
}
"""By their names in the report."""
