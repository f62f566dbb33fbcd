"""What the roles hsm_client, worm_store and backup write is what the product, systemd and PostgreSQL take."""

from __future__ import annotations

import re
import subprocess
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from ops.backup.prepare import ROLE as BACKUP_ROLE
from ops.settings import DirectoryStore, S3StoreSettings, Settings, decode_settings
from tests.unit.ansible.rendering import Installation
from tests.unit.ansible.test_filters import load
from tests.unit.ansible.tree import ANSIBLE, UIDS, defaults

HOST = "gw1"
EXPOSURE_MAX = 1.5
_OVERALL = re.compile(r"Overall exposure level for (\S+): ([0-9.]+)")
SECOND = {"name": "second", "path": "/srv/audit", "mount": {"src": "LABEL=a", "fstype": "ext4"}}
VAULT = {
    "name": "vault", "endpoint": "https://s3.example.org", "region": "eu-central-1", "bucket": "fund-audit",
    "prefix": "portcullis/", "credentials_file": "secrets/s3.key",
}  # fmt: skip
STORES = {"worm_store_directories": [SECOND], "worm_store_buckets": [VAULT]}


def template(role: str, name: str) -> Path:
    return ANSIBLE / "roles" / role / "templates" / name


def settings(house: Installation, host: str = HOST, **more: Any) -> Settings:
    """The product's settings file with what both roles put into it, as the product reads it."""
    told = {
        "portcullis_uids": UIDS,
        "worm_store_settings": house.value("worm_store", "worm_store_settings", host, **more),
        "backup_settings": house.value("backup", "backup_settings", host, **more),
    }
    text = house.render("portcullis", template("portcullis", "portcullis.toml.j2"), host, **told)
    return decode_settings(text.encode())


@pytest.fixture(scope="module")
def three() -> Installation:
    return Installation("three")


# ---------------------------------------------------------------- the audit log's further sets


def test_without_further_sets_there_is_the_first_alone(three: Installation) -> None:
    assert settings(three).recorder.stores == ()


def test_directories_and_buckets_are_sets_that_the_product_takes(three: Installation) -> None:
    directory, bucket = settings(three, **STORES).recorder.stores
    assert directory == DirectoryStore(name="second", path=Path("/srv/audit"))
    assert isinstance(bucket, S3StoreSettings)
    assert (bucket.name, bucket.bucket, bucket.prefix) == ("vault", "fund-audit", "portcullis/")
    assert bucket.credentials_file == Path("/etc/portcullis/worm/vault.key")


def test_recorder_and_sealer_may_write_into_every_directory(three: Installation) -> None:
    units = three.value("portcullis", "portcullis_units", HOST, **STORES)
    by_name = {unit["name"]: unit for unit in units}
    wanted = ["/var/lib/portcullis/audit", "/srv/audit"]
    for name in ("portcullis-recorder", "portcullis-sealer"):
        assert by_name[name]["writes"] == wanted
    assert re.findall(r"--store (\S+)", by_name["portcullis-sealer"]["run"]) == wanted


def test_the_published_set_has_a_disk_of_its_own_where_one_is_named(three: Installation) -> None:
    assert three.value("worm_store", "worm_store_mounted", HOST) == []
    own = {"worm_store_first_mount": {"src": "LABEL=audit", "fstype": "xfs"}, **STORES}
    mounted = three.value("worm_store", "worm_store_mounted", HOST, **own)
    published = str(settings(three).recorder.store)
    assert [one["path"] for one in mounted] == [published, "/srv/audit"]


# ---------------------------------------------------------------- the archive


@pytest.mark.parametrize(
    ("inventory", "host"), [("one", "gw1"), ("two_and_witness", "gw2"), ("three", "gw3")]
)
def test_one_host_has_the_archive_and_it_is_not_the_first(inventory: str, host: str) -> None:
    """The first one is where a new cluster's primary is, as a rule."""
    house = Installation(inventory)
    told = {name: settings(house, name).backup for name in house.hosts}
    assert {name for name, backup in told.items() if backup is not None} == {host}


def test_the_archive_reaches_the_primary_by_a_certificate_of_its_own(three: Installation) -> None:
    backup = settings(three, "gw3").backup
    assert backup is not None
    said = conninfo_to_dict(backup.database)
    assert (said["user"], said["host"], said["port"]) == (BACKUP_ROLE, "127.0.0.1", "6433")
    assert said["sslmode"] == "verify-ca"
    assert said["sslkey"] == "/etc/portcullis/pki/backup/certificate.pem.key"
    shown = defaults("backup")["backup_common_name"]
    assert shown == defaults("postgresql")["postgresql_archive_common_name"]


def test_commits_wait_for_the_archive_only_where_there_is_no_standby() -> None:
    asked = {"postgresql_archive_synchronous": True}
    for inventory, host, wanted in (("one", "gw1", True), ("three", "gw3", False)):
        backup = settings(Installation(inventory), host, **asked).backup
        assert backup is not None
        assert backup.synchronous is wanted
    alone = settings(Installation("one")).backup
    assert alone is not None
    assert not alone.synchronous


def written(house: Installation, root: Path) -> list[str]:
    """The units with the product's sandbox and what they have beside it, as on a host."""
    directory = root / "etc/systemd/system"
    shared = directory / "portcullis-.service.d"
    shared.mkdir(parents=True)
    sandbox = house.render("portcullis", template("portcullis", "sandbox.conf.j2"), "gw3")
    (shared / "50-sandbox.conf").write_text(sandbox)
    names = []
    for unit in house.value("backup", "backup_units", "gw3"):
        name = f"{unit['name']}.service"
        own = directory / f"{name}.d"
        own.mkdir()
        for file, source in (
            (directory / name, "unit.service.j2"),
            (own / "60-backup.conf", "unit.conf.j2"),
        ):
            file.write_text(house.render("backup", template("backup", source), "gw3", item=unit))
        names.append(name)
    timer = house.render("backup", template("backup", "backup.timer.j2"), "gw3")
    (directory / "portcullis-backup.timer").write_text(timer)
    return names


def analysed(*words: str) -> str:
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_base_backup_alone_may_run_a_shell_by_which_its_wal_is_read(
    three: Installation, tmp_path: Path
) -> None:
    """pg_verifybackup starts pg_waldump by popen(3), that is by /bin/sh; without it no backup is ever whole."""
    names = written(three, tmp_path)
    settings = {name: (tmp_path / f"etc/systemd/system/{name}.d/60-backup.conf") for name in names}
    shell = re.compile(r"(?m)^ExecPaths=.*/bin/sh\b")
    assert [name for name, file in settings.items() if shell.search(file.read_text())] == [
        "portcullis-backup.service"
    ]


def test_no_unit_is_exposed_more_than_it_may_be(three: Installation, tmp_path: Path) -> None:
    names = written(three, tmp_path)
    said = analysed("security", "--offline=true", f"--root={tmp_path}", "--no-pager", *names)
    levels = {name: float(level) for name, level in _OVERALL.findall(said)}
    assert levels.keys() == set(names)
    assert max(levels.values()) <= EXPOSURE_MAX, levels


@pytest.mark.parametrize("name", ["portcullis-archive.service", "portcullis-backup.service"])
def test_the_exceptions_stand_above_the_sandbox(
    three: Installation, tmp_path: Path, name: str
) -> None:
    """A drop-in wins over its unit, and a later one over an earlier: in the unit itself they would be lost."""
    written(three, tmp_path)
    said = analysed("security", "--offline=true", f"--root={tmp_path}", "--no-pager", name)
    found = {
        line.split()[1].removesuffix("="): line.split()[0]
        for line in said.splitlines()[1:]
        if "=" in line
    }
    assert found["PrivateNetwork"] != "\u2713", "it could not reach the primary"
    assert "localhost" in said


def test_the_next_base_backup_has_an_hour(three: Installation) -> None:
    said = analysed("calendar", three.value("backup", "backup_calendar", "gw3"))
    assert "Next elapse" in said


# ---------------------------------------------------------------- tokens

tokens = load("tokens")
SIGN, ENROL = "4720e8f5-d2d1-2184-163a-b4c92b08d9f5", "35783733-a345-7b31-3c71-ca02012817d3"
FOUND = [
    {"label": "portcullis-sign", "serial": "163ab4c92b08d9f5"},
    {"label": "portcullis-enrol", "serial": "3c71ca02012817d3"},
]


def listing(*paths: str, digest: str = "a") -> str:
    return "".join(f"{digest * 64}  ./{path}\n" for path in paths)


def test_each_token_is_the_user_s_whose_unit_opens_it(three: Installation) -> None:
    owners = defaults("hsm_client")["hsm_client_owners"]
    seen = listing(f"{SIGN}/token.object", f"{SIGN}/a.object", f"{ENROL}/token.object")
    assert tokens.token_owners(seen, FOUND, owners) == {
        SIGN: "portcullis-signer",
        ENROL: "portcullis-enroller",
    }
    users = {unit["user"] for unit in three.value("portcullis", "portcullis_units", HOST)}
    assert set(owners.values()) <= users
    hsm = settings(three).hsm
    assert set(owners) == {hsm.sign_label, hsm.enrol_label}


def test_a_token_s_files_of_somebody_else_are_a_finding() -> None:
    owners = defaults("hsm_client")["hsm_client_owners"]
    lines = [f"/t/{SIGN}/ portcullis-signer", f"/t/{ENROL}/ root"]
    assert tokens.token_strangers(lines, FOUND, owners) == [
        "token: portcullis-enrol has files of root, should be portcullis-enroller's"
    ]


def test_a_token_whose_flags_changed_is_the_same_token_and_a_key_that_changed_is_not_copied() -> (
    None
):
    first = listing(f"{SIGN}/token.object", f"{SIGN}/a.object")
    flags = listing(f"{SIGN}/token.object", digest="b") + listing(f"{SIGN}/a.object")
    key = listing(f"{SIGN}/token.object") + listing(f"{SIGN}/a.object", digest="b")
    assert tokens.token_problems(first, flags, "gw1") == []
    assert tokens.token_files(first, flags) == []
    assert "a.object differs from gw1's" in tokens.token_problems(first, key, "gw1")[0]


def test_a_pin_that_is_another_is_named_and_one_that_is_missing_is_not() -> None:
    def here(text: bytes) -> dict[str, Any]:
        return {"stat": {"exists": True, "checksum": sha256(text).hexdigest()}}

    there = [{"item": "sign.pin", "content": b64encode(b"1234\n").decode()}]
    assert tokens.other_pins(there, [here(b"1234\n")]) == []
    assert tokens.other_pins(there, [here(b"4321\n")]) == ["sign.pin"]
    assert tokens.other_pins(there, [{"stat": {"exists": False}}]) == []


def test_softhsm_is_configured_where_the_product_s_files_say(three: Installation) -> None:
    hsm = settings(three).hsm
    assert three.value("hsm_client", "hsm_client_configuration", HOST) == str(hsm.softhsm_conf)
    pins = {f"{three.value('hsm_client', 'hsm_client_credentials', HOST)}/{name}"
            for name in defaults("hsm_client")["hsm_client_pins"]}  # fmt: skip
    assert pins == {str(hsm.sign_pin_file), str(hsm.enrol_pin_file)}
    written = three.value("portcullis", "portcullis_units", HOST)
    below = Path(three.value("hsm_client", "hsm_client_tokens", HOST))
    for unit in (
        one for one in written if one["user"] in ("portcullis-signer", "portcullis-enroller")
    ):
        assert any(below.is_relative_to(place) for place in unit["writes"])


def test_a_vendor_s_client_gets_what_it_needs_in_a_drop_in(three: Installation) -> None:
    text = three.render(
        "hsm_client", template("hsm_client", "unit.conf.j2"), HOST,
        hsm_client_environment={"ChrystokiConfigurationPath": "/etc/luna"}, hsm_client_groups=["hsmusers"],
    )  # fmt: skip
    assert 'Environment="ChrystokiConfigurationPath=/etc/luna"' in text
    assert "SupplementaryGroups=hsmusers" in text
    assert "ReadWritePaths" not in text


def test_what_a_role_is_given_in_secret_it_never_shows() -> None:
    for role, file, words in (
        ("hsm_client", "tokens.yml", ("tar --create", "tar --extract")),
        ("hsm_client", "pins.yml", ("slurp", "base64 --decode")),
        ("worm_store", "buckets.yml", ("credentials_file",)),
    ):
        text = (ANSIBLE / "roles" / role / "tasks" / file).read_text()
        for word in words:
            (task,) = [one for one in re.split(r"(?m)^ *- name: ", text) if word in one]
            assert "no_log: true" in task, word


def test_setpriv_may_run_and_do_what_it_always_does() -> None:
    """It ends a program with its parent, and sets capabilities first, which the sandbox refuses."""
    text = (ANSIBLE / "roles" / "backup" / "templates" / "unit.conf.j2").read_text().splitlines()
    assert "ExecPaths=/usr/bin/setpriv" in text
    assert "SystemCallFilter=capset" in text
