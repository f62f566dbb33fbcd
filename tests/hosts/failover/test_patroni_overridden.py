"""The one alert that no single machine can raise: who sets what is Patroni's has a person called."""

from __future__ import annotations

import json

from tests.hosts.cluster import primary, until
from tests.hosts.lab import Lab

ALERT = "PortcullisBackupOverridesPatroni"
FIRES_S = 120.0
PSQL = "sudo -u postgres psql --quiet --no-psqlrc --command"
RELOAD = f"{PSQL} 'SELECT pg_reload_conf()'"


def test_who_sets_the_standbys_names_over_patroni_has_a_person_called(deployed: Lab) -> None:
    """The alert tells the truth: then a failover would lose what was acknowledged."""
    host = primary(deployed)
    assert not fires(deployed)
    deployed.controller.said(
        host, f"{PSQL} \"ALTER SYSTEM SET synchronous_standby_names = '*'\" && {RELOAD}"
    )
    try:
        until(lambda: fires(deployed), FIRES_S, f"{ALERT} does not fire")
    finally:
        deployed.controller.said(
            host, f"{PSQL} 'ALTER SYSTEM RESET synchronous_standby_names' && {RELOAD}"
        )
    until(lambda: not fires(deployed), FIRES_S, f"{ALERT} goes on")


def fires(lab: Lab) -> bool:
    """By the Prometheus of the inventory's monitoring host."""
    told = lab.controller.said(lab.hosts[-1], "curl -s http://127.0.0.1:9090/api/v1/alerts")
    alerts = json.loads(told)["data"]["alerts"]
    return any(one["labels"]["alertname"] == ALERT and one["state"] == "firing" for one in alerts)
