"""What a start would trip over, said beforehand: here, a signer that opens secrets for nobody."""

from pathlib import Path

import msgspec
import pytest

from ops.paths import Places
from ops.preflight import preflight
from ops.settings import Settings, read_settings
from ops.toml import dumps

pytestmark = pytest.mark.stack


def findings(settings: Settings) -> dict[str, str | None]:
    found = [one for one in preflight(settings) if one.name.startswith(("secrets", "signer"))]
    return {one.name: one.problem for one in found}


def with_signer(settings: Settings, path: Path, text: str) -> Settings:
    path.write_text(text)
    return msgspec.structs.replace(
        settings, hsm=msgspec.structs.replace(settings.hsm, signer_config=path)
    )


def test_a_fresh_installation_opens_what_ingress_and_admin_need(installation: Places):
    settings = read_settings(installation.settings)
    wanted = {
        "secrets opened for ingress": None, "secrets opened for admin": None,
        "secrets opened for audit records": None,
    }  # fmt: skip
    assert findings(settings) == wanted


def test_a_signer_of_an_older_version_opens_for_nobody_and_that_is_said(
    installation: Places, tmp_path: Path
):
    settings = read_settings(installation.settings)
    document = msgspec.toml.decode(settings.hsm.signer_config.read_bytes())
    del document["doors"]
    found = findings(with_signer(settings, tmp_path / "signer.toml", dumps(document)))
    assert "opens no secret for hook" in (found["secrets opened for ingress"] or "")
    assert "audit, channel, probe, totp" in (found["secrets opened for admin"] or "")
    assert "opens no secret for audit" in (found["secrets opened for audit records"] or "")


def test_openers_by_user_will_do_where_ingress_asks_at_the_main_socket(
    installation: Places, tmp_path: Path
):
    settings = read_settings(installation.settings)
    document = msgspec.toml.decode(settings.hsm.signer_config.read_bytes())
    document["openers"] = {"1201": ["audit", "hook"], "1202": ["audit", "channel", "probe", "totp"]}
    main = msgspec.structs.replace(
        settings.hsm, hook_socket=None, admin_socket=None, audit_socket=None
    )
    settings = msgspec.structs.replace(settings, hsm=main)
    found = findings(with_signer(settings, tmp_path / "signer.toml", dumps(document)))
    assert set(found.values()) == {None}


def test_a_signers_file_that_says_nonsense_is_named(installation: Places, tmp_path: Path):
    settings = with_signer(read_settings(installation.settings), tmp_path / "s", "x = 1\n")
    assert "unknown field" in (findings(settings)["signer's settings"] or "")
