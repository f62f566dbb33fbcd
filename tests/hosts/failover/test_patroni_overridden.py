"""The one alert that no single machine can raise: who sets what is Patroni's has a person called."""

from __future__ import annotations

import json
import time

from tests.hosts.failover.cluster import POLL_S, primary, said
from tests.hosts.lab import Lab

ALERT = "PortcullisBackupOverridesPatroni"
FIRES_S = 120.0
PSQL = "sudo -u postgres psql --quiet --no-psqlrc --command"
RELOAD = f"{PSQL} 'SELECT pg_reload_conf()'"


def test_who_sets_the_standbys_names_over_patroni_has_a_person_called(deployed: Lab) -> None:
    """The alert tells the truth: then a failover would lose what was acknowledged."""
    host = primary(deployed)
    assert not fires(deployed)
    said(deployed, host, f"{PSQL} \"ALTER SYSTEM SET synchronous_standby_names = '*'\" && {RELOAD}")
    try:
        until(deployed, firing=True)
    finally:
        said(deployed, host, f"{PSQL} 'ALTER SYSTEM RESET synchronous_standby_names' && {RELOAD}")
    until(deployed, firing=False)


def fires(lab: Lab) -> bool:
    """By the Prometheus of the inventory's monitoring host."""
    told = said(lab, lab.hosts[-1], "curl -s http://127.0.0.1:9090/api/v1/alerts")
    alerts = json.loads(told)["data"]["alerts"]
    return any(one["labels"]["alertname"] == ALERT and one["state"] == "firing" for one in alerts)


def until(lab: Lab, *, firing: bool) -> None:
    end = time.monotonic() + FIRES_S
    while fires(lab) is not firing:
        assert time.monotonic() < end, f"{ALERT} {'does not fire' if firing else 'goes on'}"
        time.sleep(POLL_S)
