"""What tells of the certificates of a host: the node exporter can read it, and silence is no answer."""

from __future__ import annotations

import datetime
import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.ansible.rendering import Installation
from tests.unit.ansible.telling import TELLER, certificate, told
from tests.unit.ansible.tree import ANSIBLE

ROLE = ANSIBLE / "roles" / "monitoring"
EXPOSURE_MAX = 1.5
NOON = datetime.datetime(2027, 3, 1, 12, tzinfo=datetime.UTC)


def test_it_says_of_each_when_it_ends_in_words_that_prometheus_reads(tmp_path: Path) -> None:
    places = tmp_path / "pki"
    certificate(places, "etcd", NOON)
    certificate(places, "haproxy-front", NOON - datetime.timedelta(days=400))
    assert told(places, tmp_path).returncode == 0
    text = (tmp_path / "certificates.prom").read_text()
    metric = "portcullis_host_certificate_expiry_timestamp_seconds"
    assert f'{metric}{{certificate="etcd"}} {NOON.timestamp():.0f}\n' in text
    ended = NOON.timestamp() - 400 * 86400
    assert f'{metric}{{certificate="haproxy-front"}} {ended:.0f}\n' in text
    read = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert read.returncode == 0, read.stderr


@pytest.mark.parametrize("broken", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_of_what_it_cannot_read_it_says_so_and_what_was_told_stays(
    tmp_path: Path, broken: bytes
) -> None:
    places = tmp_path / "pki"
    certificate(places, "etcd", NOON)
    file = certificate(places, "redis", NOON)
    assert told(places, tmp_path).returncode == 0
    before = (tmp_path / "certificates.prom").read_text()
    file.write_bytes(broken)
    done = told(places, tmp_path)
    assert done.returncode != 0
    assert "certificate" in done.stderr
    assert (tmp_path / "certificates.prom").read_text() == before


def test_the_unit_does_no_more_than_it_must_and_systemd_reads_the_timer(tmp_path: Path) -> None:
    directory = tmp_path / "etc/systemd/system"
    directory.mkdir(parents=True)
    house = Installation("three")
    for name in ("host-certificates.service", "host-certificates.timer"):
        template = ROLE / "templates" / f"{name.replace('-', '_')}.j2"
        (directory / name).write_text(house.render("monitoring", template, "gw1"))
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--root={tmp_path}", "host-certificates.service"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (level,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said.stdout)
    assert float(level) <= EXPOSURE_MAX
    assert "Unknown" not in said.stderr
    read = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(directory / "host-certificates.timer")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Unknown" not in read.stderr


def test_the_script_runs_nothing_that_its_sandbox_forbids() -> None:
    template = (ROLE / "templates" / "host_certificates.service.j2").read_text()
    allowed = {
        Path(word).name
        for line in re.findall(r"(?m)^ExecPaths=(.+)$", template)
        for word in line.split()
    }
    builtin = {"set", "echo", "for", "do", "done", "metric", "told", "name", "ends", "seconds"}
    used = set(re.findall(r"(?m)(?:^\s*|\$\()([a-z]+)\b", TELLER.read_text())) - builtin
    assert used
    assert used <= allowed
