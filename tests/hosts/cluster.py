"""Who does what among the booted hosts just now: asked of the hosts that are switched on."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path

from tests.hosts.host import Host
from tests.hosts.lab import Lab
from tests.hosts.network import VIP

TAKEN_OVER_S = 90.0
POLL_S = 0.5
WHOLE = Path(__file__).with_name("whole.yml")
ASKED_ETCD = "curl -s http://127.0.0.1:2381/metrics"
ASKED_PROXY = "curl -s http://127.0.0.1:8404/metrics"
UP = re.compile(r'^haproxy_server_status\{proxy="(\w+)",server="(\w+)",state="UP"\} 1$', re.M)


def primary(lab: Lab) -> Host:
    return _in_force(lab, "postgresql")


def redis_master(lab: Lab) -> Host:
    return _in_force(lab, "redis")


def _in_force(lab: Lab, proxy: str) -> Host:
    """To whom the proxies of hosts that are on lead, all the same. Raises ValueError where they do not."""
    (name,) = {
        server
        for host in lab.hosts
        if host.is_on
        for which, server in UP.findall(lab.controller.said(host, ASKED_PROXY))
        if which == proxy
    }
    return lab.host(name)


def is_led(lab: Lab) -> bool:
    """Whether the proxies lead to one primary."""
    try:
        primary(lab)
    except ValueError:
        return False
    return True


def sql(lab: Lab, query: str) -> str:
    """What the primary answers its superuser: rows in lines, fields parted by |."""
    psql = "sudo -u postgres psql --no-psqlrc --no-align --tuples-only --quiet portcullis --command"
    return lab.controller.said(primary(lab), f"{psql} {shlex.quote(query)}").strip()


def carrier(lab: Lab) -> Host:
    """Who has the VIP."""
    (found,) = (
        host for host in lab.hosts
        if host.is_on and lab.controller.said(host, f"ip -oneline address show to {VIP}")
    )  # fmt: skip
    return found


def firing(lab: Lab) -> set[str]:
    """The alerts that the monitoring host has made a person's, with the unit's name where there is one."""
    told = lab.controller.said(lab.hosts[-1], "curl -s http://127.0.0.1:9090/api/v1/alerts")
    alerts = json.loads(told)["data"]["alerts"]
    return {
        " ".join(one["labels"][name] for name in ("alertname", "name") if name in one["labels"])
        for one in alerts
        if one["state"] == "firing"
    }


def etcd_leader(lab: Lab) -> Host:
    (found,) = (
        host for host in lab.hosts
        if host.is_on and "\netcd_server_is_leader 1\n" in lab.controller.said(host, ASKED_ETCD)
    )  # fmt: skip
    return found


def until_another(who: Callable[[Lab], Host], lab: Lab, than: Host) -> None:
    """Until somebody else does it. Raises AssertionError."""

    def another() -> bool:
        try:
            return who(lab) is not than
        except (AssertionError, ValueError):
            return False  # nobody does, or two for a moment

    until(another, TAKEN_OVER_S, f"nobody took over {who.__name__} of {than.name}")


def until(holds: Callable[[], bool], within_s: float, otherwise: str) -> None:
    """Asked again and again: hosts tell nobody. Raises AssertionError with `otherwise`."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, otherwise
        time.sleep(POLL_S)


def whole(lab: Lab) -> None:
    """Until every part of every host does its work, as the playbooks see it. Raises AssertionError."""
    lab.controller.close()  # what was open leads to a host as it was before
    played = lab.controller.play(WHOLE)
    assert played.worked, played.end
