"""What preflight says of the HSM's profile."""

from pathlib import Path

import pytest

from ops.preflight import check_profile
from ops.settings import HsmSettings
from tenancy.errors import ConfigurationError


def settings(directory: Path, profile: str, daemons: str) -> HsmSettings:
    for name in ("signer", "enroller"):
        (directory / f"{name}.toml").write_text(
            f'module = "/m"\ntoken_label = "t"\npin_file = "/p"\nsocket = "/s"\nprofile = "{daemons}"\n'
        )
    pins = dict.fromkeys(
        ("enrol_pin_file", "enrol_so_pin_file", "sign_pin_file", "sign_so_pin_file"), Path("/pin")
    )
    return HsmSettings(
        module=Path("/m"), profile=profile, enrol_label="e", sign_label="s", **pins,
        signer_config=directory / "signer.toml", enroller_config=directory / "enroller.toml",
        signer_socket=Path("/s"), enroller_socket=Path("/e"),
    )  # fmt: skip


def test_one_profile_for_settings_and_daemons_is_well(tmp_path: Path) -> None:
    check_profile(settings(tmp_path, "softhsm", "softhsm"))


def test_a_daemon_with_another_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"signer\.toml says another profile"):
        check_profile(settings(tmp_path, "softhsm", "nss"))


@pytest.mark.parametrize("profile", ["luna", "nss"])
def test_a_profile_without_guards_is_a_problem(tmp_path: Path, profile: str) -> None:
    with pytest.raises(ConfigurationError, match="guards no keys"):
        check_profile(settings(tmp_path, profile, profile))
