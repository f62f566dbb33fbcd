"""The role monitoring: promtool and amtool read it, nobody is missed, no unit does more than it must."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.ansible.rendering import Installation
from tests.unit.ansible.tree import ANSIBLE, INVENTORIES, defaults, read

ROLE = "monitoring"
TEMPLATES = ANSIBLE / "roles" / ROLE / "templates"
RECEIVERS = [{"name": name} for name in ("on-call", "tickets", "heartbeat")]
EXPOSURE_MAX = 1.5
_OVERALL = re.compile(r"Overall exposure level for (\S+)\.service: ([0-9.]+)")


@pytest.fixture(scope="module", params=INVENTORIES)
def installation(request: pytest.FixtureRequest) -> Installation:
    return Installation(request.param)


def server(installation: Installation) -> str:
    return installation.value(ROLE, "groups['portcullis_monitoring'][0]", installation.hosts[0])


def written(installation: Installation, template: str, **more: Any) -> str:
    return installation.render(ROLE, TEMPLATES / template, server(installation), **more)


def accepted(tool: str, *words: str) -> None:
    """`./appliance test` installs promtool and amtool with Debian's packages."""
    done = subprocess.run([tool, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def jobs(installation: Installation) -> dict[str, Any]:
    told = yaml.safe_load(written(installation, "prometheus.yml.j2"))
    return {job["job_name"]: job for job in told["scrape_configs"]}


def targets(job: dict[str, Any]) -> list[str]:
    return [at for one in job["static_configs"] for at in one["targets"]]


def members(installation: Installation, group: str) -> list[str]:
    return installation.value(ROLE, f"groups['{group}']", installation.hosts[0])


def test_prometheus_can_read_what_it_is_told(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(written(installation, "prometheus.yml.j2"))
    accepted("promtool", "check", "config", "--syntax-only", str(file))


@pytest.mark.parametrize("alive", ["heartbeat", ""])
def test_prometheus_can_read_what_the_monitoring_says_of_itself(alive: str, tmp_path: Path) -> None:
    routes = {"page": "on-call", "ticket": "tickets", "alive": alive}
    file = tmp_path / "own.yml"
    file.write_text(written(Installation("one"), "own_rules.yml.j2", monitoring_routes=routes))
    accepted("promtool", "check", "rules", str(file))
    assert ("PortcullisMonitoringIsAlive" in file.read_text()) == bool(alive)


def test_alertmanager_can_read_whom_to_tell(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(written(installation, "alertmanager.yml.j2"))
    accepted("amtool", "check-config", str(file))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["severity=page", "alertname=PortcullisProcessDown"], "on-call"),
        (["severity=ticket", "alertname=PortcullisDiskLow"], "tickets"),
        (["severity=alive", "alertname=PortcullisMonitoringIsAlive"], "heartbeat"),
    ],
)
def test_each_alarm_reaches_who_shall_have_it(
    labels: list[str], receiver: str, tmp_path: Path
) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(
        written(Installation("one"), "alertmanager.yml.j2", monitoring_receivers=RECEIVERS)
    )
    accepted(
        "amtool", "config", "routes", "test",
        f"--config.file={file}", f"--verify.receivers={receiver}", *labels,
    )  # fmt: skip


def test_every_host_and_every_program_of_it_is_asked(installation: Installation) -> None:
    asked, ports = jobs(installation), read(ANSIBLE / "inventories" / "common.yml")
    for job, group, port in (
        ("portcullis", "portcullis_app", "metrics"),
        ("haproxy", "portcullis_app", "metrics"),
        ("node", "all", "node_exporter"),
        ("postgres", "portcullis_data", "postgres_exporter"),
        ("redis", "portcullis_app", "redis_exporter"),
        ("patroni", "portcullis_data", "patroni"),
    ):
        at = ports["portcullis_ports"][port]
        assert targets(asked[job]) == [f"{host}:{at}" for host in members(installation, group)], job


def test_no_target_on_another_host_is_asked_in_the_clear(installation: Installation) -> None:
    for name, job in jobs(installation).items():
        local = all(at.startswith("localhost:") for at in targets(job))
        assert local or job["scheme"] == "https", name


def test_the_firewall_lets_nobody_but_the_monitoring_host_at_what_is_asked() -> None:
    """HAProxy's door and the exporters; Patroni's interface has other callers besides."""
    common = read(ANSIBLE / "inventories" / "common.yml")
    for name in ("metrics", "node_exporter", "postgres_exporter", "redis_exporter"):
        flows = [
            flow
            for flow in common["portcullis_flows"]
            if flow["port"] == "{{ portcullis_ports." + name + " }}"
        ]
        assert [flow.get("groups") for flow in flows] == [["portcullis_monitoring"]], name
        assert not any("networks" in flow for flow in flows)
    for name in ("prometheus", "alertmanager"):
        assert f"portcullis_ports.{name} " not in str(common["portcullis_flows"])


def test_the_rules_find_the_job_that_they_ask_for(installation: Installation) -> None:
    rules = "".join(file.read_text() for file in (ANSIBLE.parent / "ops/alerts").glob("*.yml"))
    assert set(re.findall(r'up\{job="(\w+)"', rules)) <= set(jobs(installation))


def test_a_receivers_secret_is_in_no_settings_of_alertmanager(tmp_path: Path) -> None:
    """It is where systemd puts it, for Alertmanager alone."""
    house = Installation("one")
    secret = tmp_path / "token"
    more: dict[str, Any] = {"monitoring_secrets": {"pager.token": str(secret)}}
    (unit,) = [
        one
        for one in house.value(ROLE, "monitoring_here", "gw1", **more)
        if one["name"] == "prometheus-alertmanager"
    ]
    text = house.render(ROLE, TEMPLATES / "unit.conf.j2", "gw1", item=unit, **more)
    assert "LoadCredential=pager.token:/etc/portcullis/monitoring-secrets/pager.token\n" in text
    assert str(secret) not in text


def test_no_unit_is_exposed_more_than_it_may_be(installation: Installation, tmp_path: Path) -> None:
    """On a host that has all of them: the one that watches."""
    host = server(installation)
    programs = installation.value(ROLE, "monitoring_here", host)
    directory = tmp_path / "etc/systemd/system"
    for one in programs:
        (directory / f"{one['name']}.service.d").mkdir(parents=True)
        # What Debian's packages ship, as far as it matters here.
        (directory / f"{one['name']}.service").write_text(
            f"[Service]\nUser=prometheus\nExecStart=/usr/bin/{one['name']} $ARGS\n"
        )
        (directory / f"{one['name']}.service.d/portcullis.conf").write_text(
            written(installation, "unit.conf.j2", item=one)
        )
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--root={tmp_path}",
         *(f"{one['name']}.service" for one in programs)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    levels = {name: float(level) for name, level in _OVERALL.findall(said.stdout)}
    assert levels.keys() == {one["name"] for one in programs}
    assert {name: level for name, level in levels.items() if level > EXPOSURE_MAX} == {}
    assert "Unknown" not in said.stderr


def test_each_route_of_an_installation_leads_to_one_of_its_receivers(
    installation: Installation,
) -> None:
    names = {
        one["name"]
        for one in installation.value(ROLE, "monitoring_receivers", server(installation))
    }
    assert set(defaults(ROLE)["monitoring_routes"].values()) <= names


@pytest.mark.parametrize(
    ("route", "receiver", "fits"),
    [
        ("page", "on-call", True),
        ("page", "nobody", False),
        ("page", "", False),
        ("alive", "", True),
    ],
)
def test_each_route_leads_to_a_receiver_and_only_alive_may_lead_nowhere(
    route: str, receiver: str, fits: bool
) -> None:
    (check, *_) = read(ANSIBLE / "roles" / "monitoring" / "tasks" / "check.yml")
    condition = check["ansible.builtin.assert"]["that"]
    item = {"key": route, "value": receiver}
    assert Installation("three").holds("monitoring", condition, "gw3", item=item) is fits


def test_a_program_that_is_told_of_new_settings_by_kill_may_run_it() -> None:
    """As Debian's unit does it: what the sandbox lets nobody execute, a reload cannot either."""
    text = (ANSIBLE / "roles" / "monitoring" / "templates" / "unit.conf.j2").read_text()
    (allowed,) = re.findall(r"(?m)^ExecPaths=(.+)$", text)
    assert {"/bin/kill", "/usr/bin/kill"} <= set(allowed.split())
