"""From a further set alone: the first one deleted, everything comes back and verifies, or is named."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import timedelta

import pytest
from click.testing import CliRunner

from audit.drill import describe, drill
from audit.keeper import Keeper
from audit.manifest import path_of
from audit.verdict import INCOMPLETE, INCONSISTENT, OK, TAMPERED
from audit.worm.posix import PosixStore
from audit.worm.s3 import S3Store
from audit.worm.s3_wire import Bucket
from loadtest.s3.server import Double, serving
from ops.cli.main import cli
from ops.initialise import Choices, document
from ops.paths import places
from ops.toml import dumps
from tenancy.clock import SystemClock
from tenancy.errors import Invalid
from tests.fakes.log_files import LogFiles

KEEP, EDGE = timedelta(days=2192), timedelta(days=7)


def keep(first, store):
    keeper = Keeper(first.log, store, first.store, SystemClock(), KEEP)
    keeper.open()
    keeper.follow()
    keeper.enter()


@pytest.fixture
def logs(tmp_path):
    """Two logs in a first set."""
    made = [LogFiles(tmp_path / "first", seed) for seed in (7, 9)]
    made[0].grow(700)
    made[1].grow(3)
    return made


@pytest.fixture
def second(tmp_path, logs):
    """The further set in a directory. The first one is gone."""
    stores = {}
    for first in logs:
        directory = tmp_path / "second" / str(first.log.log_id)
        keep(first, PosixStore(directory))
        stores[str(first.log.log_id)] = directory
    shutil.rmtree(tmp_path / "first")
    return stores


def run(second, target, logs=(), **more):
    stores = {log_id: lambda path=path: PosixStore(path) for log_id, path in second.items()}
    keys = {str(first.log.log_id): first.log.vkey for first in logs}
    return drill("second", stores, target, keys, more.get("signed"))


def break_file(path, at=50):
    right = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :])


def test_everything_comes_back_from_the_second_set_alone(second, logs, tmp_path):
    report = run(second, tmp_path / "restored", logs)
    assert report.code == OK
    sizes = [(one.verdict.size, one.manifest_leaves, one.key_was_given) for one in report.logs]
    assert sizes == [(700, 512, True), (3, 0, True)]
    text = describe(report)
    assert "verified" in text
    assert "database: not asked" in text
    json.dumps(report.as_json())


def test_without_a_trusted_key_the_report_says_so(second, tmp_path):
    report = run(second, tmp_path / "restored")
    assert report.code == OK
    assert "the store's own, compare it" in describe(report)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("tile/entries/001", TAMPERED),
        ("tile/0/000", TAMPERED),
        ("tile/entries/002.p/188", TAMPERED),
        ("checkpoint", TAMPERED),
        ("manifest/000", TAMPERED),
    ],
)
def test_a_flipped_bit_in_the_set_is_found_and_named(second, logs, tmp_path, name, code):
    break_file(second[str(logs[0].log.log_id)] / name)
    report = run(second, tmp_path / "restored", logs)
    assert report.code == code
    assert report.logs[0].verdict.findings
    assert report.logs[1].verdict.code == OK


@pytest.mark.parametrize("name", ["tile/entries/001", "tile/0/002.p/188", "checkpoint", "tile/0"])
def test_what_is_missing_in_the_set_is_incomplete(second, logs, tmp_path, name):
    path = second[str(logs[0].log.log_id)] / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    report = run(second, tmp_path / "restored", logs)
    assert report.code == INCOMPLETE


def test_a_manifest_that_names_another_file_is_tampered(second, logs, tmp_path):
    path = second[str(logs[0].log.log_id)] / path_of(0)
    data = path.read_bytes()
    path.chmod(0o644)
    line = data.splitlines()[-1]
    path.write_bytes(data.replace(line, b"0" * 64 + line[64:]))
    report = run(second, tmp_path / "restored", logs)
    assert report.code == TAMPERED
    assert "tile/0/001" in report.logs[0].verdict.findings[0].what


def test_what_the_database_signed_is_compared(second, logs, tmp_path):
    first = logs[0]
    log_id = str(first.log.log_id)
    later = LogFiles(tmp_path / "later", 7)
    same, ahead = later.grow(700), later.grow(50)
    other = LogFiles(tmp_path / "other", 7)
    another = other.grow(700, "another")
    for number, (note, code, behind) in enumerate(
        ((same, OK, 0), (ahead, OK, 50), (another, INCONSISTENT, 0))
    ):
        report = run(second, tmp_path / f"restored{number}", logs, signed={log_id: note})
        assert (report.code, report.logs[0].behind) == (code, behind)


def test_a_log_that_the_set_lacks_is_incomplete(second, logs, tmp_path):
    signed = {str(logs[1].log.log_id): logs[1].grow(1)}
    del second[str(logs[1].log.log_id)]
    report = run(second, tmp_path / "restored", logs, signed=signed)
    assert report.code == INCOMPLETE
    assert run({}, tmp_path / "nothing").code == INCOMPLETE


def test_a_directory_in_use_is_not_restored_into(second, tmp_path):
    with pytest.raises(Invalid):
        run(second, tmp_path)


def settings_of(tmp_path, **recorder):
    made = document(places(tmp_path / "var"), Choices())
    made["recorder"] |= recorder
    file = tmp_path / "portcullis.toml"
    file.write_text(dumps(made))
    file.chmod(0o600)
    return file


async def invoke(file, *words):
    arguments = ["--settings", str(file), "audit", "drill", *map(str, words)]
    return await asyncio.to_thread(lambda: CliRunner().invoke(cli, arguments))


async def test_the_command_restores_from_a_directory(second, logs, tmp_path):
    file = settings_of(
        tmp_path, stores=[{"kind": "directory", "name": "second", "path": tmp_path / "second"}]
    )
    said = await invoke(
        file, "--from", "second", "--to", tmp_path / "restored", "--alone", "--json"
    )
    assert said.exit_code == 0, said.output
    assert [one["verdict"]["size"] for one in json.loads(said.output)["logs"]] == [700, 3]
    nobody = await invoke(file, "--from", "third", "--to", tmp_path / "again")
    assert nobody.exit_code != 0


async def test_the_command_restores_from_a_bucket_where_somebody_hid_and_overwrote_everything(
    tmp_path, logs
):
    """With our own access key: marks of deletion and newer versions on every name. The locks hold."""
    key = tmp_path / "s3.key"
    key.write_text("AKID\ns3cr3t\n")
    key.chmod(0o600)
    double = Double({"AKID": "s3cr3t"}, page=7)
    double.make("audit")
    with serving(double) as endpoint:
        bucket = Bucket(endpoint, "r", "audit", key, SystemClock())
        for first in logs:
            prefix = f"logs/{first.log.log_id}/"
            keep(first, S3Store(bucket, prefix, SystemClock(), KEEP, EDGE))
        shutil.rmtree(tmp_path / "first")
        for number, name in enumerate(list(double.buckets["audit"].versions)):
            if number % 2:
                bucket.ask("PUT", name, body=b"rubbish")
            bucket.ask("DELETE", name)
        bucket.close()
        file = settings_of(tmp_path, stores=[{
            "kind": "s3", "name": "vault", "endpoint": endpoint, "region": "r", "bucket": "audit",
            "prefix": "logs/", "credentials_file": key,
        }])  # fmt: skip
        said = await invoke(
            file, "--from", "vault", "--to", tmp_path / "restored", "--alone", "--json"
        )
    assert said.exit_code == 0, said.output
    restored = json.loads(said.output)["logs"]
    assert [one["verdict"]["size"] for one in restored] == [700, 3]
