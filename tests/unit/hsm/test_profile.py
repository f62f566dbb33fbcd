"""The profiles that come with us: what each says of itself, and what it may not claim."""

import ast
from pathlib import Path

import pytest

from hsm.conformance.run import all_checks
from hsm.profile import DIRECTORY, GUARDS, NOT_RUN, Profile, check_guards, names, read_profile
from hsm.settings import read_daemon_settings
from tenancy.errors import ConfigurationError

CHECKS = {check.name for check in all_checks()}
HARDWARE = ["cloudhsm", "luna", "nshield", "utimaco"]


@pytest.mark.parametrize("name", names())
def test_a_profile_names_checks_that_exist_and_a_source_for_each_difference(name):
    profile = read_profile(name)
    assert set(profile.expected) <= CHECKS
    assert profile.differences
    assert all(one.what.endswith(".") and one.source for one in profile.differences)
    assert 1 <= profile.worker_threads <= 64


@pytest.mark.parametrize("name", HARDWARE)
def test_hardware_that_nobody_has_tried_says_so_and_holds_no_keys(name):
    profile = read_profile(name)
    assert profile.run_on == NOT_RUN
    with pytest.raises(ConfigurationError, match=r"not run on hardware.*conformance"):
        check_guards(profile)


@pytest.mark.parametrize("name", ["softhsm", "nss"])
def test_software_that_was_tried_names_version_and_day_and_every_check(name):
    profile = read_profile(name)
    assert "2026-" in profile.run_on
    assert set(profile.expected) == CHECKS


def test_all_profiles_are_tried_here():
    assert names() == sorted([*HARDWARE, "softhsm", "nss"])
    assert [name for name in names() if read_profile(name).may_hold_keys] == ["softhsm"]


def own(tmp_path, text: str) -> str:
    path = tmp_path / "own.toml"
    path.write_text(text)
    read_profile.cache_clear()
    return str(path)


def test_a_profile_of_ones_own_is_a_file_and_must_have_been_run(tmp_path):
    text = (read_text("luna")).replace('name = "luna"', 'name = "own"')
    keys = text.replace("may_hold_keys = false", "may_hold_keys = true")
    ran = keys.replace(NOT_RUN, "Luna 7.8.4, 2027-01-31")
    whole = ran + "".join(f'{name} = "holds"\n' for name in GUARDS)
    with pytest.raises(ConfigurationError, match="once conformance has run"):
        read_profile(own(tmp_path, keys))
    with pytest.raises(ConfigurationError, match=r"without .*the_unwrap_template_is_enforced"):
        read_profile(own(tmp_path, ran))
    assert isinstance(read_profile(own(tmp_path, whole)), Profile)
    check_guards(read_profile(own(tmp_path, whole)))


def test_the_guards_are_checks_of_conformance():
    assert set(GUARDS) < CHECKS
    assert len(set(GUARDS)) == len(GUARDS)
    assert set(read_profile("nss").missing_guards()) > {"the_unwrap_template_is_enforced"}


def test_the_handbooks_tables_say_what_the_profiles_say():
    """Each check with its reason and both findings; guards in bold."""
    page = (Path(__file__).parents[3] / "docs/hsm/profiles.md").read_text()
    mark = {"holds": "yes", "does not hold": "**no**", "cannot be done": "—"}
    tried = [read_profile(name).expected for name in ("softhsm", "nss")]
    for check in all_checks():
        name = f"**`{check.name}`**" if check.name in GUARDS else f"`{check.name}`"
        found = " | ".join(mark[expected[check.name]] for expected in tried)
        assert f"| {name} | {check.why} | {found} |" in page


def read_text(name: str) -> str:
    return (DIRECTORY / f"{name}.toml").read_text()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (('name = "own"', 'name = "other"'), "not the file's"),
        (("worker_threads = 32", "unknown = 1\nworker_threads = 32"), "unknown"),
        (("[expected]", '[expected]\nx = "perhaps"'), "perhaps"),
        (
            ("worker_threads = 32", 'absent_attributes = ["X"]\nworker_threads = 32'),
            "no attributes",
        ),
    ],
)
def test_a_profile_that_is_wrong_is_refused_with_the_reason(tmp_path, change, match):
    text = read_text("luna").replace('name = "luna"', 'name = "own"').replace(*change)
    with pytest.raises(ConfigurationError, match=match):
        read_profile(own(tmp_path, text))


def test_no_such_profile_names_those_there_are():
    with pytest.raises(ConfigurationError, match="cloudhsm, luna, nshield, nss, softhsm, utimaco"):
        read_profile("yubihsm")


def daemon_settings(tmp_path, **more):
    values = {"module": "/x", "token_label": "t", "pin_file": "/p", "socket": "/s", **more}
    path = tmp_path / "signer.toml"
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in values.items()))
    return read_daemon_settings(path)


def test_threads_are_the_profiles_unless_the_file_says_them(tmp_path):
    assert daemon_settings(tmp_path).worker_threads == 1
    assert daemon_settings(tmp_path, profile="luna").worker_threads == 32
    assert daemon_settings(tmp_path, profile="luna", worker_threads=4).worker_threads == 4
    with pytest.raises(ConfigurationError, match="no HSM profile"):
        daemon_settings(tmp_path, profile="x")


def test_threads_beyond_the_tokens_sessions_are_refused(tmp_path):
    text = read_text("luna").replace('name = "luna"', 'name = "own"')
    profile = own(tmp_path, text.replace("sessions_max = 0", "sessions_max = 8"))
    assert daemon_settings(tmp_path, profile=profile, worker_threads=7).worker_threads == 7
    with pytest.raises(ConfigurationError, match="8 sessions"):
        daemon_settings(tmp_path, profile=profile, worker_threads=8)


def test_a_tokens_numbers_come_from_its_profile():
    """Ask the anchor's `.profile.kwp` and `.profile.oaep`: those in hsm/templates.py are SoftHSM's."""
    package = Path(__file__).parents[3] / "hsm"
    for path in package.rglob("*.py"):
        imported = {
            name.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module == "hsm.templates"
            for name in node.names
        }
        assert not imported & {"KWP", "OAEP"}, path
