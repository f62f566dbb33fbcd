"""The hardening report: every control is one of the role's own wishes, asks and changes nothing, and can fail."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.unit.ansible.rendering import Installation
from tests.unit.ansible.test_filters import load
from tests.unit.ansible.tree import ANSIBLE, INVENTORIES, defaults, own_variables

evidence, findings = load("evidence"), load("findings")
ROLES = ["base", "hardening", "clock", "pki", "monitoring", "portcullis"]
NUMBER = re.compile(
    r"CIS [1-7](\.[0-9]+){2,4}|dev-sec (os|sysctl|sshd|package)-[0-9]{2}[ab]?|Portcullis"
)
ASKS = {
    "aa-enabled", "apt-config", "auditctl", "awk", "cat", "chronyc", "chronyd", "dpkg-query", "find",
    "findmnt", "grep", "modprobe", "nft", "passwd", "ps", "readlink", "sshd", "stat", "sysctl", "systemctl",
}  # fmt: skip


def controls(role: str, inventory: str = "three") -> list[dict[str, Any]]:
    """As the playbook reads them."""
    file = ANSIBLE / "roles" / role / "vars" / "controls.yml"
    from tests.unit.ansible.rendering import read as templates

    more = {**templates(file), "evidence_roles_directory": str(ANSIBLE / "roles")}
    return Installation(inventory).value(role, f"{role}_controls", "gw1", **more)


EVERY = [(role, one) for role in ROLES for one in controls(role)]


def test_the_playbook_asks_every_role_that_has_controls():
    text = (ANSIBLE / "playbooks" / "evidence.yml").read_text()
    having = {path.parts[-3] for path in (ANSIBLE / "roles").glob("*/vars/controls.yml")}
    assert having == set(ROLES)
    for role in having:
        assert f"'{role}'" in text, role


def test_every_control_has_a_number_and_a_sentence_and_is_judged():
    assert len(EVERY) > 100
    for role, one in EVERY:
        for number in one["control"].split(", "):
            assert NUMBER.fullmatch(number), (role, one["control"])
        assert one["says"]
        assert set(one) <= {"control", "says", "command", "expect", "refuse", "kernel"}, one
        assert re.search(one.get("expect", "x"), "") is None, "an empty answer proves nothing"
        assert re.search(one.get("refuse", "x"), "") is None, "an empty answer refuses nothing"


def test_no_control_changes_anything():
    """Each command, and each after a pipe, is one of those that ask; those that could do both only ask here."""
    for role, one in EVERY:
        for part in re.split(r"\s\|\s", one["command"]):
            assert part.split()[0] in ASKS, (role, part)
        said = one["command"]
        assert "-delete" not in said
        assert "-exec" not in said
        assert not re.search(r"[^'>]>[^=]|;", re.sub(r"'[^']*'", "", said)), said
        for program, way in (
            ("systemctl", "is-"), ("modprobe", "--dry-run"), ("nft", "list"), ("auditctl", "-l"),
            ("passwd", "--status"), ("sshd", "-T"), ("sysctl", "-n"), ("chronyd", "-p"),
        ):  # fmt: skip
            if said.startswith(f"{program} "):
                assert said.split()[1].startswith(way), said


def test_every_kernel_setting_and_every_refused_module_is_proved():
    hardening = own_variables("hardening")
    had = defaults("hardening")
    for kind in ("network", "kernel"):
        assert set(hardening[f"hardening_{kind}_controls"]) == set(had[f"hardening_sysctl_{kind}"])
    assert set(hardening["hardening_module_controls"]) == set(had["hardening_modules_refused"])
    assert set(hardening["hardening_file_controls"]) == set(hardening["hardening_wanted_files"])


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_what_is_expected_is_what_the_role_wants(inventory: str):
    told = {one["command"]: one for one in controls("hardening", inventory)}
    assert told["sysctl -n net.ipv4.ip_forward"]["expect"] == "^0$"
    assert told['sshd -T | grep "^permitrootlogin "']["expect"] == "^permitrootlogin no$"
    assert told["stat --format %U:%G:%a /etc/shadow"]["expect"] == "^root:shadow:640$"


def result(control: dict[str, Any], stdout: str = "", **more: Any) -> dict[str, Any]:
    """As Ansible registers one turn of a loop."""
    return {"item": control, "stdout": stdout, "stderr": "", "rc": 0, **more}


KEYS = {"control": "Portcullis", "says": "keys", "command": "find", "refuse": "^(?!600 root )."}
LOGIN = {"control": "CIS 5.1.20", "says": "no", "command": "sshd", "expect": "^permitrootlogin no$"}


@pytest.mark.parametrize(
    ("control", "printed", "passed"),
    [
        (LOGIN, "x11forwarding no\npermitrootlogin no\n", True),
        (LOGIN, "permitrootlogin no-way\n", False),
        (LOGIN, "", False),
        (KEYS, "600 root /a\n600 root /b", True),
        (KEYS, "600 root /a\n644 root /b", False),
        (KEYS, "", True),
    ],
)
def test_what_a_command_printed_is_judged(control: dict[str, Any], printed: str, passed: bool):
    (one,) = evidence.judged([result(control, printed)])
    assert one["passed"] is passed
    assert one["printed"] == printed


def test_a_command_without_an_expectation_has_to_succeed():
    plain = {"control": "CIS 1.3.1.1", "says": "there", "command": "aa-enabled"}
    assert [one["passed"] for one in evidence.judged([result(plain), result(plain, rc=1)])] == [
        True,
        False,
    ]


def test_what_was_not_asked_has_not_passed():
    (one,) = evidence.judged([{"item": LOGIN, "skipped": True}])
    assert one["passed"] is None


def test_a_key_without_a_value_is_an_error_and_no_empty_expectation():
    with pytest.raises(KeyError):
        evidence.each_of({"a.b": "CIS 3.3.1"}, "sysctl -n {key}", {})


def test_a_unit_is_held_to_the_first_limit_that_fits_it():
    units = [
        {"unit": "portcullis-signer.service", "exposure": "0.6"},
        {"unit": "portcullis-worker@0.service", "exposure": "1.1"},
        {"unit": "cron.service", "exposure": "9.6"},
    ]
    limits = {"portcullis-signer": 0.5, "portcullis-.*": 1.5}
    assert [(one["unit"], one["passed"]) for one in evidence.exposures(units, limits)] == [
        ("portcullis-signer", False),
        ("portcullis-worker@0", True),
    ]


SS = """\
udp   UNCONN 0      0                             127.0.0.1:323       0.0.0.0:*    users:(("chronyd",pid=1,fd=5))
tcp   LISTEN 0      4096                            0.0.0.0:443       0.0.0.0:*    users:(("haproxy",pid=9,fd=7))
tcp   LISTEN 0      128                                [::]:2222         [::]:*    users:(("sshd",pid=3,fd=4))
"""


def test_open_ports_are_compared_with_the_flows():
    found = evidence.listeners(SS)
    assert [one["port"] for one in found] == [323, 443, 2222]
    assert findings.strangers(found, [443]) == ["open port: tcp 2222 (sshd) is in no flow"]


def test_a_failure_stands_first_on_the_page_and_a_pipe_breaks_no_table():
    bad = {"control": "CIS 1", "says": "b", "command": "x | y", "printed": "1\n2", "passed": False}
    good = {**bad, "says": "a", "passed": True}
    host = {
        "findings": ["sshd: x is y"], "controls": [good, bad, {**good, "passed": None}], "ports": SS,
        "units": [{"unit": "u", "exposure": 2.0, "most": 1.5, "passed": False}], "strangers": ["open port: z"],
    }  # fmt: skip
    page = evidence.evidence_page({"installation": "three", "at": "now", "hosts": {"gw1": host}})
    assert "| gw1 | 1 | 3 | 1 | 1 |" in page
    assert page.index("| b | **FAILED** |") < page.index("| a | passed |")
    assert "`x \\| y` | `1 ⏎ 2` |" in page
    assert "- **not expected**: open port: z" in page


def test_a_host_of_which_no_unit_was_judged_has_failed():
    host = {"findings": [], "controls": [], "ports": "", "units": [], "strangers": []}
    page = evidence.evidence_page({"installation": "one", "at": "now", "hosts": {"gw1": host}})
    assert "| gw1 | 0 | 1 | 0 | 0 |" in page
    assert "systemd told of no unit" in page
