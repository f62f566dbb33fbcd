"""Conformance finds what the profiles say, on SoftHSM and NSS softokn, and says so when it does not."""

import json
import subprocess
import sys
from glob import glob
from pathlib import Path

import msgspec
import pytest
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.exceptions import MechanismInvalid

from hsm.conformance.bench import Bench
from hsm.conformance.check import CHECKS, Check, DoesNotHold
from hsm.conformance.run import all_checks, run_one
from hsm.module import Module
from hsm.profile import DIRECTORY, mechanism, read_profile
from hsm.templates import SIGN_SIDE, TemplateMapper
from tenancy.errors import ConfigurationError
from tests.integration.hsm.conftest import signing_token


def library(profile: str) -> Path:
    """Where it is installed. Both are in every list of what the tests need."""
    found = [path for pattern in read_profile(profile).modules for path in glob(pattern)]
    assert found, f"no library of profile {profile}: apt-get install softhsm2 libnss3"
    return Path(found[0])


def run(*arguments: object) -> tuple[int, dict]:
    """In a process of its own: a library that dies takes no other test along."""
    done = subprocess.run(
        [sys.executable, "-m", "hsm.conformance", *map(str, arguments)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("profile", ["softhsm", "nss"])
def test_the_library_is_as_its_profile_says(profile):
    """Another version than the profile was found on (`run_on`) may differ, and has to say so."""
    status, report = run("--module", library(profile), "--profile", profile)
    differing = [one for one in report["findings"] if one["differs"]]
    assert status == bool(differing)
    if f" {report['version']}." in read_profile(profile).run_on:
        assert differing == []
    assert [one["name"] for one in report["findings"]] == [check.name for check in all_checks()]
    assert all(one["outcome"] and one["why"] for one in report["findings"])


def test_a_library_that_is_worse_or_better_than_its_profile_is_a_finding(tmp_path):
    """NSS, where SoftHSM's findings are expected: guards are missing, and more works than should."""
    own, other = ((DIRECTORY / f"{name}.toml").read_text() for name in ("nss", "softhsm"))
    file = tmp_path / "nss.toml"
    file.write_text(own[: own.index("[expected]")] + other[other.index("[expected]") :])
    status, report = run("--module", library("nss"), "--profile", file)
    assert status == 1
    differing = {
        one["name"]: (one["expected"], one["outcome"])
        for one in report["findings"] if one["differs"]
    }  # fmt: skip
    assert differing["the_unwrap_template_is_enforced"] == ("holds", "does not hold")
    assert differing["an_unextractable_key_is_not_wrapped"] == ("holds", "does not hold")
    assert differing["oaep_with_sha256_unwraps"] == ("cannot be done", "holds")


@pytest.mark.longer
def test_a_named_token_is_left_as_it_was_and_sees_no_wrong_pin(softhsm, monkeypatch):
    softhsm.init()
    monkeypatch.setenv("SOFTHSM2_CONF", str(softhsm.settings.softhsm_conf))
    status, report = run(
        "--module", softhsm.settings.module, "--profile", "softhsm",
        "--token", softhsm.settings.sign_label, "--pin-file", softhsm.settings.sign_pin_file,
    )  # fmt: skip
    assert status == 0
    not_tried = {one["name"] for one in report["findings"] if one["outcome"] is None}
    assert not_tried == {"a_wrong_pin_is_named", "wrong_pins_lock_the_token"}
    with signing_token(softhsm) as anchor:
        assert list(anchor.session.get_objects()) == []


class _Profile:
    name = "any"
    expected = {"claim": "holds", "other": "does not hold"}  # noqa: RUF012


class _Bench(Bench):
    def __init__(self):
        self.profile = _Profile()


def _fails(_):
    raise DoesNotHold("seen otherwise")


def test_a_difference_in_either_direction_and_an_unknown_claim_are_findings():
    def differs(name, what):
        return run_one(_Bench(), Check(name, "", what)).differs

    assert not differs("claim", lambda _: None)
    assert differs("claim", _fails)
    assert not differs("other", _fails)
    assert differs("other", lambda _: None)
    assert differs("unnamed", lambda _: None)


def test_each_check_has_a_name_and_a_reason_of_its_own():
    assert len({check.name for check in CHECKS}) == len({check.why for check in CHECKS})
    assert len(CHECKS) == len(all_checks()) >= 45


def test_a_profile_without_the_guards_holds_no_keys():
    with pytest.raises(ConfigurationError, match="guards no keys"):
        Module.load(library("nss"), None, "nss")


def test_a_vendors_mechanism_number_reaches_the_token(softhsm):
    """The binding refuses numbers that it does not know; ours gets the token's own refusal."""
    softhsm.init()
    with signing_token(softhsm) as anchor:
        key = anchor.session.create_object(
            {
                Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES,
                Attribute.VALUE: bytes(32), Attribute.WRAP: True, Attribute.TOKEN: False,
            }
        )  # fmt: skip
        with pytest.raises(MechanismInvalid):
            key.wrap_key(key, mechanism=mechanism(0x80000171))


def test_templates_fit_the_profile():
    """A vendor's number for KWP, in every place, and nothing that the token does not know."""
    profile = msgspec.structs.replace(
        read_profile("softhsm"), kwp_number=0x80000171, absent_attributes=["DERIVE"]
    )
    fitted = profile.fit(SIGN_SIDE["kek"])
    assert fitted[Attribute.ALLOWED_MECHANISMS] == [0x80000171]
    assert Attribute.DERIVE not in fitted
    assert Attribute.DERIVE not in fitted[Attribute.UNWRAP_TEMPLATE]
    packed = TemplateMapper().pack_attribute(
        Attribute.ALLOWED_MECHANISMS, fitted[Attribute.ALLOWED_MECHANISMS]
    )
    assert packed == (0x80000171).to_bytes(8, "little")
    assert read_profile("softhsm").fit(SIGN_SIDE["kek"]) is SIGN_SIDE["kek"]
