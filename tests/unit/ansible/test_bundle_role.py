"""Hosts without internet: the bundle has what roles install, apt reads nothing else, a forged one goes nowhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ops.bundle.packages import wanted
from ops.bundle.repository import ORIGIN
from tests.bundles import bundle, key, packed, seal, signers
from tests.unit.ansible.playing import played
from tests.unit.ansible.rendering import Installation
from tests.unit.ansible.tree import ANSIBLE, ROLES, words

TEMPLATES = ANSIBLE / "roles" / "bundle" / "templates"


def test_what_every_role_installs_can_be_said_without_a_host() -> None:
    packages = {name for one in wanted(ANSIBLE) for name in one.packages}
    assert {"sudo", "postgresql-15", "redis-sentinel", "python3-venv"} <= packages


@pytest.mark.parametrize("role", ROLES)
def test_no_role_installs_by_a_way_that_the_bundle_does_not_read(role: str) -> None:
    other = r"\b(?:ansible\.builtin\.(?:package|dpkg_selections|get_url|pip)|apt-get install|apt install)\b"
    assert words(role, other) == set()


def test_upgrades_come_from_the_bundle_where_nothing_else_is_reached() -> None:
    template = ANSIBLE / "roles" / "base" / "templates" / "upgrades.conf.j2"
    for offline, origin in ((True, ORIGIN), (False, "Debian")):
        text = Installation("one").render("base", template, "gw1", portcullis_offline=offline)
        lines = [line.strip() for line in text.splitlines() if line.strip().startswith('"origin=')]
        assert [line.partition(",")[0] for line in lines] == [f'"origin={origin}']


def test_apt_reads_the_bundle_and_nothing_else(tmp_path: Path) -> None:
    """Asked of apt itself, with the settings and sources that a host gets."""
    house = Installation("one")
    told = {"bundle_apt_sources": str(tmp_path), "bundle_at": "/opt/portcullis-bundles/1"}
    settings = tmp_path / "apt.conf"
    settings.write_text(house.render("bundle", TEMPLATES / "apt.conf.j2", "gw1", **told))
    sources = house.render("bundle", TEMPLATES / "bundle.sources.j2", "gw1", **told)
    (tmp_path / "bundle.sources").write_text(sources)
    done = subprocess.run(
        ["apt-get", "-o", "Debug::NoLocking=1", "update", "--print-uris"],
        env={**os.environ, "APT_CONFIG": str(settings)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    ours = "'file:/opt/portcullis-bundles/1/debian/./"
    assert f"{ours}InRelease'" in done.stdout
    assert [line for line in done.stdout.splitlines() if not line.startswith(ours)] == []


PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  roles: [bundle]
"""


def refused(tmp_path: Path, **variables: object) -> str:
    """What the role says of a bundle that it does not take."""
    book = tmp_path / "play.yml"
    book.write_text(PLAY)
    done = played(tmp_path, book, "localhost,", **variables)
    assert done.returncode != 0
    return done.stdout


@pytest.mark.parametrize("forged", ["a file", "the signer"])
def test_a_forged_bundle_is_refused_before_anything_of_it_is_on_a_host(
    tmp_path: Path, forged: str
) -> None:
    release = key(tmp_path)
    root = bundle(tmp_path / "bundle", release)
    if forged == "a file":
        (root / "wheels" / "alpha-1.0-py3-none-any.whl").write_text("forged")
        said = "wheels/alpha-1.0-py3-none-any.whl: its SHA-256 is"
    else:
        seal(root, key(tmp_path, "stranger"))
        said = "made the signature"
    places = tmp_path / "places"
    assert said in refused(
        tmp_path, portcullis_bundle=packed(root), portcullis_bundle_signers=signers(release),
        portcullis_offline=False, bundle_places=places,
    )  # fmt: skip
    assert not places.exists()


def test_without_signers_no_bundle_is_taken(tmp_path: Path) -> None:
    given = {"portcullis_bundle": tmp_path / "x.tar", "portcullis_offline": False}
    said = refused(tmp_path, portcullis_bundle_signers="", bundle_places=tmp_path / "p", **given)
    assert "portcullis_bundle_signers the file of who may" in said
