"""`portcullis bundle` with the real pip, apt, git and ssh-keygen, on a tiny checkout, without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ops.bundle import names
from ops.bundle.verify import verify
from ops.cli.main import cli
from tests.bundles import apt_settings, key, package, signers

pytestmark = [pytest.mark.slow, pytest.mark.longer]

PROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "portcullis"
version = "9.9.9"
dependencies = ["alpha"]
[tool.setuptools]
packages = ["tiny"]
"""
ROLE = """\
- name: Install the tool
  ansible.builtin.apt:
    name: {tool}
    install_recommends: false
"""
PROXY = "http://127.0.0.1:1"
"""Nobody listens: pip-audit reaches no database, on any machine."""


def wheel(place: Path, name: str, licence: str, requires: str = "") -> str:
    """A wheel with one module; its line of a lock."""
    path = place / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\nLicense-Expression: {licence}\n{needs}",
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}==1.0 --hash=sha256:{sha256(path.read_bytes()).hexdigest()}\n"


def setuptools(place: Path) -> str:
    """The one that is installed, as a wheel again."""
    there = distribution("setuptools")
    path = place / f"setuptools-{there.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file in there.files or ():
            if ".." not in file.parts and file.suffix != ".pyc":
                archive.write(there.locate_file(file), file.as_posix())
    digest = sha256(path.read_bytes()).hexdigest()
    return f"setuptools=={there.version} --hash=sha256:{digest}\n"


class Workshop:
    """A checkout, a registry and a mirror, all of them directories."""

    def __init__(self, root: Path) -> None:
        self.root, self.source, self.key = root, root / "checkout", key(root)
        self.registry, self.mirror = root / "registry", root / "mirror"
        for place in (self.registry, self.mirror, self.source / "requirements"):
            place.mkdir(parents=True)
        self._fill()

    def _fill(self) -> None:
        lock = setuptools(self.registry) + wheel(self.registry, "alpha", "MIT")
        tools = wheel(self.registry, "ansible", "GPL-3.0-or-later", "delta")
        tools += wheel(self.registry, "delta", "MIT") + wheel(self.registry, "unused", "MIT")
        self.write("requirements/runtime.lock", lock)
        self.write("requirements/hosts.lock", lock + tools)
        self.write("pyproject.toml", PROJECT)
        self.write("tiny/__init__.py", "")
        self.write("ansible/roles/tool/tasks/main.yml", ROLE.format(tool="tool"))
        package(self.mirror, "every-host", "Essential: yes\n")
        package(self.mirror, "apt")
        package(self.mirror, "library")
        package(self.mirror, "tool", "Depends: library\n")
        package(self.mirror, "nobody-asked")
        (self.root / "apt.conf").write_text(apt_settings(self.mirror, "file"))
        self.git("init", "--quiet")
        self.commit()

    def write(self, name: str, text: str) -> None:
        (self.source / name).parent.mkdir(parents=True, exist_ok=True)
        (self.source / name).write_text(text)

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        command = ["git", "-C", str(self.source), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "as it is")

    def bundle(self, out: Path, *more: str) -> Result:
        words = ["bundle", "--out", str(out), "--key", str(self.key), "--source", str(self.source)]
        environment = {
            "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.registry), "PIP_CONFIG_FILE": os.devnull,
            "APT_CONFIG": str(self.root / "apt.conf"), "HTTPS_PROXY": PROXY, "SOURCE_DATE_EPOCH": "1000000000",
        }  # fmt: skip
        return CliRunner().invoke(cli, [*words, *more], env=environment)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_what_is_made_is_whole_and_the_same_again(workshop: Workshop) -> None:
    """Two runs, in two places: the archives are the same, bit for bit."""
    first, second = (workshop.root / one / "bundle" for one in ("first", "second"))
    for out in (first, second):
        made = workshop.bundle(out)
        assert made.exit_code == 0, f"{made.output} {made.exception}"
        assert sorted(path.name for path in out.parent.iterdir()) == [
            "bundle",
            "portcullis-bundle-9.9.9.tar",
        ]
    archives = [out.parent / "portcullis-bundle-9.9.9.tar" for out in (first, second)]
    assert archives[0].read_bytes() == archives[1].read_bytes()
    for form in (first, archives[0]):
        verdict = verify(form, signers(workshop.key))
        assert verdict.faults == []
    assert verdict.manifest["commit"] == workshop.git("rev-parse", "HEAD")
    assert verdict.manifest["changed_since_commit"] == []

    there = {path.relative_to(first).as_posix() for path in first.rglob("*") if path.is_file()}
    assert {name for name in there if name.endswith(".deb")} == {
        f"debian/{name}_1.0_all.deb" for name in ("apt", "every-host", "library", "tool")
    }
    assert {name for name in there if name.startswith(f"{names.COLLECTIONS}/")} == {
        "collections/ansible-1.0-py3-none-any.whl",
        "collections/delta-1.0-py3-none-any.whl",
        names.COLLECTIONS_LOCK,
    }
    sbom = json.loads((first / names.SBOM).read_text())
    licences = {one["purl"]: one["licenses"] for one in sbom["components"]}
    assert licences["pkg:pypi/alpha@1.0"] == [{"license": {"id": "MIT"}}]
    suite, architecture = verdict.manifest["suite"], "all"
    purl = f"pkg:deb/debian/tool@1:1.0?arch={architecture}&distro={suite}"
    assert licences[purl] == [{"license": {"name": "MIT"}}]
    assert json.loads((first / names.VULNERABILITIES).read_text())["python"]["checked"] is False


def test_a_missing_package_leaves_nothing_that_looks_like_a_bundle(workshop: Workshop) -> None:
    workshop.write("ansible/roles/tool/tasks/main.yml", ROLE.format(tool="nowhere"))
    workshop.commit()
    out = workshop.root / "out" / "bundle"
    made = workshop.bundle(out)
    assert made.exit_code == 1
    assert "Debian packages of tool/tasks/main.yml: Install the tool" in made.output
    assert "nowhere" in made.output
    assert list(out.parent.iterdir()) == []


def test_a_distribution_under_the_gpl_does_not_ship(workshop: Workshop) -> None:
    line = wheel(workshop.registry, "gnu", "GPL-3.0-only")
    lock = workshop.source / "requirements/runtime.lock"
    lock.write_text(lock.read_text() + line)
    workshop.commit()
    made = workshop.bundle(workshop.root / "out" / "bundle")
    assert made.exit_code == 1
    assert "gnu 1.0 is under GPL-3.0-only, and so may not ship" in made.output


def test_what_is_known_beforehand_is_said_before_anything_is_fetched(workshop: Workshop) -> None:
    out = workshop.root / "out" / "bundle"
    shutil.rmtree(workshop.registry)
    shutil.rmtree(workshop.mirror)

    def said(*more: str) -> str:
        made = workshop.bundle(out, *more)
        assert made.exit_code in (1, 2)
        assert not out.parent.exists() or list(out.parent.iterdir()) == [out]
        return made.output

    assert "holds no key that ssh-keygen can read" in said("--key", str(workshop.root / "apt.conf"))
    assert "is no checkout of portcullis" in said("--source", str(workshop.root))
    workshop.write("tiny/__init__.py", "changed = True\n")
    workshop.write("new.py", "")
    assert "(tiny/__init__.py, new.py): commit it, or ask for --dirty" in said()
    out.mkdir(parents=True)
    assert f"{out} exists already" in said("--dirty")


def test_a_key_and_a_place_are_asked_for() -> None:
    made = CliRunner().invoke(cli, ["bundle", "--out", "x"])
    assert (made.exit_code, "Missing option '--key'" in made.output) == (2, True)
