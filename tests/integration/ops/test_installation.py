"""`portcullis install` makes what a host's settings name, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from hsm.errors import CeremonyRefused
from ops.cli.main import cli
from ops.initialise import Choices, document
from ops.installation import install
from ops.migrate import read_migrations
from ops.paths import places
from ops.settings import Settings, decode_settings
from ops.toml import dumps
from tests.fixtures.postgres import Database
from tests.fixtures.softhsm import SoftHSM

pytestmark = pytest.mark.stack
ROLES = ("owner", "admin", "ingress", "worker", "recorder")


@pytest.fixture
def host(empty_database: Database, softhsm: SoftHSM, tmp_path: Path) -> dict[str, Any]:
    """What an operator put in place: settings, a database with its roles, an HSM without tokens."""
    written = document(places(tmp_path / "var"), Choices())
    del written["stack"]
    written["database"] |= {role: empty_database.conninfo(role) for role in ROLES}
    written["hsm"] |= {
        name: getattr(softhsm.settings, name)
        for name in (
            "module", "softhsm_conf", "enrol_pin_file", "enrol_so_pin_file", "sign_pin_file",
            "sign_so_pin_file", "enrol_label", "sign_label",
        )
    }  # fmt: skip
    return written


def settings_of(host: dict[str, Any]) -> Settings:
    return decode_settings(dumps(host).encode())


def test_what_is_not_there_is_made_and_only_once(host: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "portcullis.toml"
    file.write_text(dumps(host))
    file.chmod(0o640)

    def made() -> list[str]:
        ran = CliRunner().invoke(
            cli, ["--settings", str(file), "install", "--json"], catch_exceptions=False
        )
        found: list[str] = json.loads(ran.stdout)["made"]
        return found

    first = made()
    assert first[:2] == ["token: portcullis-enrol", "token: portcullis-sign"]
    assert first[2] == "schema: 0001_ground"
    assert first[-1] == "platform"
    key = tmp_path / "var" / "secrets" / "keys" / "operator.key"
    assert key.read_text().startswith("pck_")
    assert key.stat().st_mode & 0o777 == 0o600
    said = key.read_text()
    assert made() == []
    assert key.read_text() == said


def test_a_release_that_was_gone_back_to_finds_everything_there(
    host: dict[str, Any], tmp_path: Path
) -> None:
    """`rollback` runs it on the schema that the newer release left, which still serves this one."""
    install(settings_of(host), tmp_path / "keys")
    newer = len(read_migrations()) + 1
    with psycopg.connect(host["database"]["owner"]) as conn:
        conn.execute(
            "INSERT INTO schema_migrations (number, name, sha256) VALUES (%s, 'newer', %s)",
            (newer, bytes(32)),
        )
    assert install(settings_of(host), tmp_path / "keys") == []


def test_half_of_the_tokens_are_a_persons_to_decide(host: dict[str, Any], tmp_path: Path) -> None:
    install(settings_of(host), tmp_path / "keys")
    host["hsm"]["sign_label"] = "another"
    with pytest.raises(CeremonyRefused, match=r"portcullis-enrol.*exists already"):
        install(settings_of(host), tmp_path / "keys")
