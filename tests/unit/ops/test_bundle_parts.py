"""What decides about a bundle's parts: locks, licences, packages of the roles, names, answers of pip-audit."""

from __future__ import annotations

import json
from email.parser import HeaderParser
from pathlib import Path

import pytest

from ops.bundle.debian import Target, pool_name
from ops.bundle.distribution import Distribution, licence_of
from ops.bundle.failed import BundleFailed
from ops.bundle.licences import may_ship, refused
from ops.bundle.lock import applying, fitted, pins_of
from ops.bundle.packages import wanted
from ops.bundle.repository import licences_of, release
from ops.bundle.vulnerabilities import judged

ROOT = Path(__file__).parents[3]
LOCK = """\
alpha==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:ab
    # via portcullis (pyproject.toml)
async-timeout==5.0.1 ; python_full_version < '3.11.3' \\
    --hash=sha256:cc
Beta.X==2.0 \\
    --hash=sha256:bb
"""
DEBIAN = {"python_full_version": "3.11.2"}
LATER = {"python_full_version": "3.11.7"}


def test_a_lock_is_read_as_uv_writes_it() -> None:
    pins = pins_of(LOCK)
    assert [(pin.name, pin.version, sorted(pin.hashes)) for pin in pins] == [
        ("alpha", "1.0", ["aa", "ab"]),
        ("async-timeout", "5.0.1", ["cc"]),
        ("beta-x", "2.0", ["bb"]),
    ]


def test_the_locks_of_this_checkout_can_be_read() -> None:
    for name in ("runtime", "hosts"):
        pins = pins_of((ROOT / "requirements" / f"{name}.lock").read_text())
        assert len(pins) > 50
        assert all(len(digest) == 64 for pin in pins for digest in pin.hashes)


def test_what_applies_is_asked_of_the_hosts_python_and_not_of_ours() -> None:
    """Debian 12 has 3.11.2, which needs async-timeout; 3.11.3 and later do not."""
    assert [pin.name for pin in applying(pins_of(LOCK), DEBIAN)] == [
        "alpha",
        "async-timeout",
        "beta-x",
    ]
    assert [pin.name for pin in applying(pins_of(LOCK), LATER)] == ["alpha", "beta-x"]


WHEELS = {"alpha-1.0-py3-none-any.whl": "ab", "beta_x-2.0-py3-none-any.whl": "new"}


def test_the_lock_that_ships_has_the_sums_of_what_ships() -> None:
    made = fitted(applying(pins_of(LOCK), LATER), WHEELS)
    assert made.text == "alpha==1.0 --hash=sha256:ab\nbeta-x==2.0 --hash=sha256:new\n"
    assert made.built == ["beta_x-2.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("wheels", "said"),
    [
        ({"alpha-1.0-py3-none-any.whl": "ab"}, "beta-x: no wheel is there, should be 2.0"),
        (WHEELS | {"beta_x-2.0-py3-none-any.whl": "x", "beta_x-2.0-py2-none-any.whl": "x"}, "both"),
        (WHEELS | {"gamma-1.0-py3-none-any.whl": "x"}, "no pin asks for: gamma"),
        (
            {"alpha-1.1-py3-none-any.whl": "ab"},
            "alpha: alpha-1.1-py3-none-any.whl is there, should be 1.0",
        ),
    ],
)
def test_wheels_that_are_not_one_for_each_pin_are_refused(
    wheels: dict[str, str], said: str
) -> None:
    with pytest.raises(BundleFailed, match=said):
        fitted(applying(pins_of(LOCK), LATER), wheels)


@pytest.mark.parametrize(
    ("licence", "ships"),
    [
        ("MIT", True),
        ("LGPL-3.0-only", True),
        ("GNU Lesser General Public License v3 (LGPLv3)", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("GPL-2.0-only OR MIT", True),
        ("GPL-2.0-only AND MIT", False),
        ("MIT AND (GPL-3.0-or-later OR AGPL-3.0-only)", False),
        ("GPL-3.0-or-later", False),
        ("GPLv3", False),
        ("GNU General Public License v3 or later (GPLv3+)", False),
        ("GNU Affero General Public License v3", False),
        ("AGPL-3.0-only", False),
        ("BUSL-1.1", False),
        ("Business Source License 1.1", False),
        ("3-Clause BSD License", True),
    ],
)
def test_which_licences_may_ship(licence: str, ships: bool) -> None:
    assert may_ship(licence) is ships


def distribution(licence: str) -> Distribution:
    return Distribution("alpha", "1.0", licence, (), "wheels/alpha.whl", "aa")


def test_what_states_no_licence_may_not_ship() -> None:
    assert (
        refused([distribution(""), distribution("UNKNOWN")])
        == ["alpha 1.0 states no licence, and so may not ship"] * 2
    )
    assert refused([distribution("MIT")]) == []


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: other\n", "MIT OR Apache-2.0"),
        ("License: BSD-3-Clause\nClassifier: License :: OSI Approved :: X\n", "BSD-3-Clause"),
        (
            "License: The MIT License\n        Copyright\nClassifier: License :: OSI Approved :: MIT License\n",
            "MIT License",
        ),
        ("Name: alpha\n", ""),
    ],
)
def test_where_a_distribution_states_its_licence(metadata: str, licence: str) -> None:
    assert licence_of(HeaderParser().parsestr(metadata)) == licence


def test_a_debian_package_has_its_pools_name() -> None:
    assert pool_name("redis-server_5%3a7.0.15-1_amd64.deb") == "redis-server_7.0.15-1_amd64.deb"
    assert pool_name("acl_2.3.1-3_amd64.deb") == "acl_2.3.1-3_amd64.deb"


def test_prose_about_a_licence_is_no_statement_of_one() -> None:
    machine = "Format: https://example.org/1.0/\n\nFiles: *\nLicense: GPL-2+\n text\n\nFiles: x\nLicense:  MIT \n"
    assert licences_of(machine) == ("GPL-2+", "MIT")
    assert licences_of("This is under the\nLicense: see below\n") == ()


def test_a_release_file_names_its_index() -> None:
    text = release(b"index", Target("bookworm", "amd64"), 0)
    assert "Date: Thu, 01 Jan 1970 00:00:00 UTC\n" in text
    assert "Origin: Portcullis\n" in text
    assert text.endswith(
        "\n 1bc04b5291c26a46d918139138b992d2de976d6851d0893b0476b85bfbdfc6e6 5 Packages\n"
    )


def answer(*parts: dict[str, object]) -> bytes:
    return json.dumps({"dependencies": parts, "fixes": []}).encode()


ALPHA = {"name": "alpha", "version": "1.0", "vulns": []}
BETA = {
    "name": "beta",
    "version": "2.0",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": [], "description": ""}],
}
SKIPPED = {"name": "gamma", "skip_reason": "not found at https://registry.internal/gamma"}


def test_what_pip_audit_found_is_told() -> None:
    assert judged(1, answer(ALPHA, BETA)) == {
        "checked": True,
        "distributions": 2,
        "found": [{"name": "beta", "version": "2.0", "id": "PYSEC-1", "fixed_in": ["2.1"]}],
    }


@pytest.mark.parametrize("said", [b"", b"{}", b"Traceback", answer(ALPHA, SKIPPED), answer()])
def test_what_was_not_asked_is_never_called_clean(said: bytes) -> None:
    told = judged(0, said)
    assert told["checked"] is False
    assert "registry" not in told["why"]


ROLE = """\
- name: Install the tool
  ansible.builtin.apt:
    name: {name}
- name: Inside
  block:
    - name: Install another
      ansible.builtin.apt:
        name: [other]
        install_recommends: false
- name: Remove
  ansible.builtin.apt:
    name: gone
    state: absent
- name: Look anew
  ansible.builtin.apt:
    update_cache: true
"""


def role(tmp_path: Path, name: str) -> Path:
    place = tmp_path / "roles" / "tool"
    for part in ("tasks", "defaults"):
        (place / part).mkdir(parents=True)
    (place / "tasks" / "main.yml").write_text(ROLE.format(name=name))
    (place / "defaults" / "main.yml").write_text(
        'tool_version: 15\ntool_packages: ["tool-{{ tool_version }}", extra]\n'
    )
    return tmp_path


def test_packages_are_read_from_the_tasks_that_install_them(tmp_path: Path) -> None:
    tool, other = wanted(role(tmp_path, '"{{ tool_packages }}"'))
    assert (tool.packages, tool.recommends) == (("tool-15", "extra"), True)
    assert (other.packages, other.recommends) == (("other",), False)
    assert tool.by == "tool/tasks/main.yml: Install the tool"


@pytest.mark.parametrize("name", ['"{{ tool_unknown }}"', "{a: b}", '"{{ [1] }}"'])
def test_a_task_whose_packages_cannot_be_said_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleFailed, match=r"tool/tasks/main\.yml: Install the tool: "):
        wanted(role(tmp_path, name))
