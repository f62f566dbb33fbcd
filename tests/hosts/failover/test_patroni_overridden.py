"""The one alert that no single machine can raise: who sets what is Patroni's has a person called."""

from __future__ import annotations

from tests.hosts.cluster import firing, primary, until
from tests.hosts.lab import Lab

ALERT = "PortcullisBackupOverridesPatroni"
FIRES_S = 120.0
PSQL = "sudo -u postgres psql --quiet --no-psqlrc --command"
RELOAD = f"{PSQL} 'SELECT pg_reload_conf()'"


def test_who_sets_the_standbys_names_over_patroni_has_a_person_called(deployed: Lab) -> None:
    """The alert tells the truth: then a failover would lose what was acknowledged."""
    host = primary(deployed)
    assert ALERT not in firing(deployed)
    deployed.controller.said(
        host, f"{PSQL} \"ALTER SYSTEM SET synchronous_standby_names = '*'\" && {RELOAD}"
    )
    try:
        until(lambda: ALERT in firing(deployed), FIRES_S, f"{ALERT} does not fire")
    finally:
        deployed.controller.said(
            host, f"{PSQL} 'ALTER SYSTEM RESET synchronous_standby_names' && {RELOAD}"
        )
    until(lambda: ALERT not in firing(deployed), FIRES_S, f"{ALERT} goes on")
