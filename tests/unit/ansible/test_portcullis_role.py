"""What the role portcullis writes is what the product takes, and its units allow no more than they must."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from gateway.proxied import CERTIFICATE, CLIENT
from hsm.settings import DaemonSettings, read_daemon_settings
from ops.cli.main import cli
from ops.initialise import PAPER_INSTRUMENTS
from ops.processes import specs
from ops.settings import ADMIN_OPENS, AUDIT_OPENS, INGRESS_OPENS, Settings, decode_settings
from ops.toml import dumps
from tests.unit.ansible.rendering import Installation
from tests.unit.ansible.tree import ANSIBLE, ROLES, UIDS, defaults, own_variables, words

EXPOSURE_MAX = {"portcullis-signer": 0.5, "portcullis-recorder": 0.5}
EXPOSURE_MAX_OF_OTHERS = 1.5
_OVERALL = re.compile(r"Overall exposure level for (\S+): ([0-9.]+)")
NO_PROCESS = {"postgres", "redis"}
BUNDLE = ANSIBLE / "roles" / "bundle" / "tasks" / "main.yml"


ROLE = "portcullis"
HOST = "gw1"
ROOT = 0
"""Holds ceremonies, which use each new key once through the daemons (ops/key_ceremonies.py)."""


@pytest.fixture(scope="module")
def house() -> Installation:
    return Installation("one")


def rendered(house: Installation, template: str, **more: Any) -> str:
    told = {"portcullis_uids": UIDS, **more}
    return house.render(ROLE, ANSIBLE / "roles" / ROLE / "templates" / template, HOST, **told)


def units(house: Installation) -> list[dict[str, Any]]:
    return house.value(ROLE, "portcullis_units", HOST)


def daemon(house: Installation, template: str, directory: Path) -> DaemonSettings:
    """A daemon's settings as it reads them itself."""
    file = directory / "daemon.toml"
    file.write_text(rendered(house, template))
    return read_daemon_settings(file)


@pytest.fixture(scope="module")
def settings(house: Installation) -> Settings:
    return decode_settings(rendered(house, "portcullis.toml.j2").encode())


def test_the_settings_are_ones_that_the_product_takes(settings: Settings) -> None:
    assert settings.ingress.socket == Path("/run/portcullis/ingress.sock")
    assert settings.admin.tls is None
    assert settings.stack is None
    assert settings.recorder.sealer == Path("/run/portcullis/sealer.sock")


def test_every_process_of_an_installation_has_a_unit(
    settings: Settings, house: Installation
) -> None:
    wanted = {spec.name for spec in specs(settings, Path("/etc/portcullis/portcullis.toml"), 3, 4)}
    there = set()
    for unit in units(house):
        name = unit["name"].removeprefix("portcullis-")
        if name.endswith("@"):
            there |= {f"{name[:-1]}-{index}" for index in range(int(unit["instances"]))}
        else:
            there |= {name, f"{name}-0"}
    assert wanted - there - NO_PROCESS == set()


def test_the_signer_opens_what_each_is_for_to_who_needs_it(
    settings: Settings, house: Installation, tmp_path: Path
) -> None:
    signer = daemon(house, "signer.toml.j2", tmp_path)
    doors = {door.socket: door for door in signer.doors.values()}
    for at, purposes, users in (
        (settings.hsm.hook_socket, INGRESS_OPENS, {"ingress"}),
        (settings.hsm.admin_socket, ADMIN_OPENS, {"admin"}),
        (settings.hsm.audit_socket, AUDIT_OPENS, {"admin", "ingress", "recorder", "worker"}),
    ):
        assert at is not None
        assert set(doors[at].purposes) == set(purposes)
        uids = doors[at].peer_uids
        assert uids is not None
        assert set(uids) == {ROOT, *(UIDS[f"portcullis-{user}"] for user in users)}
    wanted = {ROOT, UIDS["portcullis-worker"], UIDS["portcullis-recorder"]}
    assert set(signer.peer_uids) == wanted
    assert signer.openers == {}
    assert signer.socket == settings.hsm.signer_socket


def test_the_enroller_answers_the_management_listener_and_who_watches_it(
    settings: Settings, house: Installation, tmp_path: Path
) -> None:
    enroller = daemon(house, "enroller.toml.j2", tmp_path)
    assert enroller.peer_uids == [ROOT, UIDS["portcullis-admin"], UIDS["portcullis-recorder"]]
    assert enroller.socket == settings.hsm.enroller_socket


def test_the_proxy_hands_requests_on_where_and_how_the_product_takes_them(
    settings: Settings,
) -> None:
    haproxy = defaults("haproxy")
    assert [one["path"] for one in haproxy["haproxy_ingress_sockets"]] == [
        str(settings.ingress.socket)
    ]
    assert [one["path"] for one in haproxy["haproxy_admin_sockets"]] == [str(settings.admin.socket)]
    assert haproxy["haproxy_client_header"].lower().encode() == CLIENT
    assert haproxy["haproxy_certificate_header"].lower().encode() == CERTIFICATE


def written(house: Installation, root: Path, **more: Any) -> list[str]:
    """The units below `root`, as a host has them; the names of the services, instances by their first."""
    directory = root / "etc/systemd/system"
    (directory / "portcullis-.service.d").mkdir(parents=True)
    sandbox = directory / "portcullis-.service.d/50-sandbox.conf"
    sandbox.write_text(rendered(house, "sandbox.conf.j2", **more))
    names = []
    for unit in units(house):
        file = directory / f"{unit['name']}.service"
        file.write_text(rendered(house, "unit.service.j2", item=unit, **more))
        needs = file.with_suffix(".service.d") / "60-needs.conf"
        needs.parent.mkdir()
        needs.write_text(rendered(house, "needs.conf.j2", item=unit, **more))
        names.append(unit["name"] + ("0" if unit["name"].endswith("@") else ""))
    return names


@pytest.mark.parametrize("networks", [{}, {"portcullis_recorder_networks": ["192.0.2.7"]}])
def test_no_unit_is_exposed_more_than_it_may_be(
    house: Installation, networks: dict[str, list[str]], tmp_path: Path
) -> None:
    """What `systemd-analyze security` says of a running host, it says of files, too."""
    names = written(house, tmp_path, **networks)
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--root={tmp_path}",
         *(f"{name}.service" for name in names)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    levels = {name.removesuffix(".service"): float(level) for name, level in _OVERALL.findall(said)}
    assert levels.keys() == set(names)
    for name, level in levels.items():
        most = EXPOSURE_MAX.get(name, EXPOSURE_MAX_OF_OTHERS)
        if name == "portcullis-recorder" and networks:
            most = EXPOSURE_MAX_OF_OTHERS  # a witness has to be asked
        assert level <= most, (name, level)


def unconfined(root: Path, name: str) -> set[str]:
    """The measures that systemd says do not hold for a unit, after all its drop-ins."""
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--root={root}", "--no-pager", f"{name}.service"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return set(re.findall(r"(?m)^✗ ([A-Za-z]+)=", said))


def test_each_unit_may_do_what_it_needs_and_no_more(house: Installation, tmp_path: Path) -> None:
    """What is in force, for a drop-in that is read later takes back what a unit allows itself."""
    written(house, tmp_path)
    open_to = {
        name: unconfined(tmp_path, name) for name in ("portcullis-signer", "portcullis-worker@0")
    }
    assert "PrivateUsers" in open_to["portcullis-signer"], "it would not see who calls it"
    assert "PrivateNetwork" not in open_to["portcullis-signer"]
    assert "PrivateNetwork" in open_to["portcullis-worker@0"], "it would reach no broker"
    assert "PrivateUsers" not in open_to["portcullis-worker@0"]
    for name in ("portcullis-recorder", "portcullis-ingress@0"):
        assert "PrivateNetwork" not in unconfined(tmp_path, name)
    assert "AmbientCapabilities" in unconfined(tmp_path, "portcullis-sealer")


def test_settings_that_the_product_would_not_take_are_told_before_they_are_put_in_place(
    house: Installation, tmp_path: Path
) -> None:
    """What the role's `validate:` runs, with and without a mistake in what the operator wrote."""
    file = tmp_path / "portcullis.toml"

    def told(more: str) -> tuple[int, str]:
        file.write_text(rendered(house, "portcullis.toml.j2", portcullis_more_settings=more))
        file.chmod(0o600)
        ran = CliRunner().invoke(
            cli, ["--settings", str(file), "preflight", "--settings-only", "--json"]
        )
        return ran.exit_code, f"{ran.output} {ran.exception}"

    paper = dumps({"brokers": {"paper": {"instruments": PAPER_INSTRUMENTS}}})
    assert told(paper)[0] == 0
    status, words = told(paper.replace("multiplier", "multiplyer"))
    assert status == 1
    assert "multiplyer" in words


def test_an_administrator_calls_the_command_by_its_name(
    house: Installation, tmp_path: Path
) -> None:
    """Which settings and which authority, the host knows; who says another has another."""
    release = tmp_path / "current/bin/portcullis"
    release.parent.mkdir(parents=True)
    release.write_text('#!/bin/sh\necho "$PORTCULLIS_SETTINGS ${PORTCULLIS_CA-none} $*"\n')
    release.chmod(0o755)
    own = "/etc/portcullis/portcullis.toml /etc/portcullis/pki/front/authorities.pem"

    def said(environment: dict[str, str], **more: Any) -> str:
        command = tmp_path / "portcullis"
        command.write_text(
            rendered(house, "command.sh.j2", portcullis_prefix=str(tmp_path), **more)
        )
        words = ["/bin/sh", str(command), "tenant", "create", "My Fund"]
        return subprocess.run(
            words, capture_output=True, text=True, check=True, env=environment
        ).stdout.strip()

    assert said({}) == f"{own} tenant create My Fund"
    assert said({"PORTCULLIS_CA": "/mine.pem"}).split()[1] == "/mine.pem"
    assert said({}, haproxy_own_certificate=False).split()[1] == "none"


def test_others_pass_through_the_directory_of_the_sockets_and_no_more(house: Installation) -> None:
    """HAProxy is in no group of the product: its two sockets are in there, and open to it by their own group."""
    (line,) = [
        line for line in rendered(house, "tmpfiles.conf.j2").splitlines() if line.startswith("d ")
    ]
    kind, path, mode, owner, group, _ = line.split()
    assert (kind, path, owner, group) == ("d", "/run/portcullis", "root", "portcullis")
    assert int(mode, 8) == 0o3771


def test_no_role_within_it_applies_its_handlers_before_there_are_keys() -> None:
    """A restart of the signer before `installation.yml` would find no token; `run.yml` applies them all."""
    tasks = yaml.safe_load((ANSIBLE / "roles" / ROLE / "tasks" / "main.yml").read_text())
    names = [task["name"] for task in tasks]
    assert names.index("Installation") < names.index("Run")
    before = [ANSIBLE / "roles" / ROLE / "tasks" / f"{name.lower()}.yml" for name in names[:-1]]
    within = [
        path
        for role in ("backup", "hsm_client")
        for path in (ANSIBLE / "roles" / role).glob("tasks/*.yml")
    ]
    looked_at = [path for path in (*before, *within, BUNDLE) if path.exists()]
    assert len(looked_at) > 10
    assert [path for path in looked_at if "flush_handlers" in path.read_text()] == []


def test_the_services_are_a_list_of_names_each_instance_by_itself(house: Installation) -> None:
    assert house.value(ROLE, "portcullis_services", HOST, portcullis_worker_processes=3) == [
        "portcullis-signer", "portcullis-enroller", "portcullis-clock", "portcullis-sealer",
        "portcullis-recorder", "portcullis-worker@0", "portcullis-worker@1", "portcullis-worker@2",
        "portcullis-admin", "portcullis-ingress@0", "portcullis-ingress@1",
    ]  # fmt: skip


def test_who_gives_up_its_rights_may_do_so_and_who_asks_for_the_boot_sees_it(
    house: Installation,
) -> None:
    """The sandbox refuses capset(2) as privileged, and hides of /proc all that is no process."""
    assert "ProcSubset=pid" in rendered(house, "sandbox.conf.j2")
    needs = {
        unit["name"]: rendered(house, "needs.conf.j2", item=unit).splitlines()
        for unit in units(house)
    }
    sees = {name for name, lines in needs.items() if "ProcSubset=all" in lines}
    assert needs.keys() - sees == {
        "portcullis-signer", "portcullis-enroller", "portcullis-sealer"
    }  # fmt: skip
    assert [name for name, lines in needs.items() if "SystemCallFilter=capset" in lines] == [
        "portcullis-sealer"
    ]


def test_no_unit_is_confined_that_does_not_know_it(house: Installation) -> None:
    """systemd takes a drop-in for `portcullis-` for every unit that is so called, a playbook's own, too."""
    knows = {unit["name"].partition("@")[0] for unit in units(house)}
    knows |= {unit["name"] for unit in own_variables("backup")["backup_units"]}
    named = r"\b(portcullis-[a-z-]*[a-z])(?:@[^.\s]*)?\.service\b|--unit=(portcullis[\w-]*)"
    found = {name for role in ROLES for pair in words(role, named) for name in pair if name}
    assert "portcullis-archive" in found
    assert found - knows == set()


def test_what_a_process_may_write_it_may_not_execute(house: Installation) -> None:
    """systemd mounts what may be written over the rest: NoExecPaths=/ alone is not for it (seen on a host)."""
    for unit in units(house):
        lines = rendered(house, "needs.conf.j2", item=unit).splitlines()
        (written,) = [
            line.partition("=")[2] for line in lines if line.startswith("ReadWritePaths=")
        ]
        assert f"NoExecPaths={written}" in lines, unit["name"]


def test_a_change_starts_no_process_that_does_not_run() -> None:
    """A host that was lost gets its units before its tokens come back (docs/operating/backup.md)."""
    handlers = yaml.safe_load((ANSIBLE / "roles" / ROLE / "handlers" / "main.yml").read_text())
    assert len(handlers) == 2
    for handler in handlers:
        assert handler["ansible.builtin.command"] == "systemctl try-restart {{ item }}.service"
