"""A package verifies by itself, and whatever is changed in it is found."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from audit.export import kit
from audit.export.check import verify_package
from audit.export.selection import Selection, recorded
from audit.verdict import INCOMPLETE, OK, TAMPERED
from tests.fakes.audit_log import KEY, files_of
from tests.fakes.audit_package import Records, make_package

VKEY = str(KEY)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 513])
def test_a_package_of_a_whole_log_verifies_and_is_complete(tmp_path, size):
    package = make_package(tmp_path / "p", Records(size))
    made = verify_package(package, VKEY)
    assert (made.verdict.code, made.verdict.findings) == (OK, [])
    assert made.complete == (0, size)
    assert made.counts.payloads == made.counts.records == size


def test_lone_records_of_a_large_log_bring_only_their_own_tiles(tmp_path):
    records = Records(70_000)
    package = make_package(
        tmp_path / "p", records, [records.rows[300], records.rows[66_000]],
        selection=Selection(orders=("o-0",)),
    )  # fmt: skip
    made = verify_package(package, VKEY)
    assert (made.verdict.code, made.complete) == (OK, None)
    names = {path.relative_to(package).as_posix() for path in files_of(package)}
    tiles = {name for name in names if name.startswith("tile/")}
    assert tiles == {
        "tile/0/001", "tile/0/257", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17",
        "tile/2/000.p/1",
    }  # fmt: skip


def test_a_range_shows_by_its_neighbours_that_nothing_was_left_out(tmp_path):
    records = Records(600)
    times = [row.members["rt"] for row in records.rows]
    chosen = Selection(since=_moment(times[100]), until=_moment(times[400]))
    first = next(n for n, at in enumerate(times) if at >= recorded(chosen.since))
    end = next(n for n, at in enumerate(times) if at >= recorded(chosen.until))
    package = make_package(
        tmp_path / "p", records, records.rows[first:end], (first, end), selection=chosen
    )
    made = verify_package(package, VKEY)
    assert (made.verdict.code, made.complete) == (OK, (first, end))


def test_a_range_from_which_its_last_record_was_left_out_is_incomplete(tmp_path):
    records = Records(600)
    chosen = Selection(since=datetime(2001, 1, 1, tzinfo=UTC))
    package = make_package(tmp_path / "p", records, records.rows[:599], (0, 599), selection=chosen)
    assert verify_package(package, VKEY).verdict.code == INCOMPLETE


def test_any_changed_bit_of_any_file_is_found(tmp_path):
    """Also where whoever changed it wrote the manifest anew, unless the file proves nothing."""
    records = Records(300)
    chosen = [records.rows[index] for index in (0, 100, 299)]
    package = make_package(
        tmp_path / "p", records, chosen, selection=Selection(orders=("o-0", "o-1", "o-2"))
    )
    chance = random.Random(3)
    for path in files_of(package):
        right = path.read_bytes()
        for _ in range(3):
            at = chance.randrange(len(right) * 8)
            changed = bytearray(right)
            changed[at // 8] ^= 1 << at % 8
            path.write_bytes(bytes(changed))
            assert verify_package(package, VKEY).verdict.code != OK or path.name == "manifest.json"
            if _proves(path.relative_to(package).as_posix()):
                _renew_manifest(package)
                assert verify_package(package, VKEY).verdict.code != OK, (path, at)
            path.write_bytes(right)
            _renew_manifest(package)
    assert verify_package(package, VKEY).verdict.code == OK


def test_a_dropped_record_and_an_exchanged_payload_are_found(tmp_path):
    package = make_package(tmp_path / "p", Records(300))
    file = package / "records.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:100] + lines[101:]) + "\n")
    _renew_manifest(package)
    assert verify_package(package, VKEY).verdict.code == INCOMPLETE
    first, second = json.loads(lines[0]), json.loads(lines[1])
    first["payload"] = second["payload"]
    file.write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    _renew_manifest(package)
    made = verify_package(package, VKEY).verdict
    assert (made.code, made.first_bad_index) == (TAMPERED, 0)


def test_a_file_that_does_not_belong_is_named(tmp_path):
    package = make_package(tmp_path / "p", Records(3))
    (package / "more.txt").write_text("x")
    made = verify_package(package, VKEY).verdict
    assert made.code != OK
    assert "more.txt" in made.findings[0].what


def test_the_program_in_the_package_runs_alone(tmp_path):
    """With isolated mode and no path to this source tree: what it imports is in it."""
    package = make_package(tmp_path / "p", Records(300))
    done = subprocess.run(
        [sys.executable, "-I", str(package / kit.NAME), str(package), "--vkey", VKEY],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("verified: ")
    (package / "records.csv").write_text("x")
    broken = subprocess.run(
        [sys.executable, "-I", str(package / kit.NAME), str(package), "--vkey", VKEY],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert broken.returncode == TAMPERED


def test_the_program_is_the_same_bytes_each_time():
    first = kit.reader()
    kit.reader.cache_clear()
    assert kit.reader() == first


def test_the_shell_script_proves_each_record_with_openssl_alone(tmp_path):
    package = make_package(tmp_path / "p", Records(7))
    for index in range(7):
        done = _shell(package, index)
        assert done.stdout == f"ok: record {index} is in the signed log of 7 records\n"
    leaf = package / "leaves/3.json"
    leaf.write_bytes(leaf.read_bytes().replace(b"order.fill", b"order.FILL"))
    assert _shell(package, 3).returncode == 1
    note = package / "checkpoint"
    note.write_bytes(note.read_bytes().replace(b"\n7\n", b"\n8\n"))
    assert "signature does not verify" in _shell(package, 2).stdout


def _shell(package, index):
    return subprocess.run(
        ["sh", "verify.sh", str(index), "log-1.pem"], cwd=package, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def _moment(text):
    return datetime.fromisoformat(text[:26]).replace(tzinfo=UTC)


def _proves(name):
    """Files whose bytes are evidence; the others only show it, or check it."""
    return name in ("checkpoint", "records.jsonl") or name.startswith("tile/")


def _renew_manifest(package):
    """As whoever may write the directory can."""
    from audit.export.check import file_sha256

    file = package / "manifest.json"
    try:
        manifest = json.loads(file.read_bytes())
    except ValueError:
        return
    for item in manifest["files"]:
        path = package / item["name"]
        item |= {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    file.write_text(json.dumps(manifest))
