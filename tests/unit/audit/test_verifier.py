"""The verdict on a directory: right for a right log, and never `verified` for a changed one."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys

import pytest

from audit.merkle import leaf_hash
from audit.verdict import INCOMPLETE, INCONSISTENT, OK, TAMPERED
from audit.verifier import main, verify_log
from tests.fakes.audit_log import KEY, files_of, leaf, leaves, write_log


def verdict_of(directory, since=None):
    return verify_log(directory, str(KEY), since)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 512, 700])
def test_a_right_log_is_verified_at_every_size(tmp_path, size):
    write_log(tmp_path, leaves(size), stops=[1, 3, size - 1])
    verdict = verdict_of(tmp_path)
    assert (verdict.code, verdict.size, verdict.findings) == (OK, size, [])


def test_every_single_bit_of_a_small_log_counts(tmp_path):
    write_log(tmp_path, leaves(1))
    for path in files_of(tmp_path):
        right = path.read_bytes()
        for at in range(8 * len(right)):
            changed = bytearray(right)
            changed[at // 8] ^= 1 << at % 8
            path.write_bytes(changed)
            assert verdict_of(tmp_path).code != OK, (path, at)
        path.write_bytes(right)
    assert verdict_of(tmp_path).code == OK


def test_random_bits_of_a_larger_log_count_and_the_record_is_named(tmp_path):
    chance = random.Random(5)
    write_log(tmp_path, leaves(600), stops=[100, 550])
    for path in files_of(tmp_path):
        right = path.read_bytes()
        for _ in range(6):
            at = chance.randrange(len(right))
            changed = bytearray(right)
            changed[at] ^= 1 << chance.randrange(8)
            path.write_bytes(bytes(changed))
            verdict = verdict_of(tmp_path)
            assert verdict.code == TAMPERED, (path, at)
            assert path.name in ("checkpoint", "vkey") or verdict.first_bad_index is not None
        path.write_bytes(right)


def test_a_swapped_entry_is_named_by_its_index(tmp_path):
    entries = leaves(600)
    write_log(tmp_path, entries)
    bundle = tmp_path / "tile/entries/001"
    data = bundle.read_bytes()
    bundle.write_bytes(data.replace(entries[300][-100:], entries[303][-100:]))
    verdict = verdict_of(tmp_path)
    assert (verdict.code, verdict.first_bad_index) == (TAMPERED, 300)


def test_every_missing_file_is_noticed(tmp_path):
    write_log(tmp_path, leaves(600))
    for path in files_of(tmp_path):
        if path.name != "vkey":
            right = path.read_bytes()
            path.unlink()
            assert verdict_of(tmp_path).code == INCOMPLETE, path
            path.write_bytes(right)


def test_a_pruned_partial_tile_is_no_loss_once_its_full_tile_stands(tmp_path):
    write_log(tmp_path, leaves(256))
    old_checkpoint, all_files = tmp_path / "old", tmp_path / "new"
    write_log(old_checkpoint, leaves(200))
    write_log(all_files, leaves(256))
    shutil.copy(old_checkpoint / "checkpoint", all_files / "checkpoint")
    verdict = verdict_of(all_files)
    assert (verdict.code, verdict.size) == (OK, 200), verdict.findings


def test_a_file_that_no_log_has_is_noticed(tmp_path):
    write_log(tmp_path, leaves(3))
    (tmp_path / "tile/0/extra").write_text("?")
    assert verdict_of(tmp_path).code == TAMPERED


def test_an_older_checkpoint_must_be_extended(tmp_path):
    old, fork = tmp_path / "old", tmp_path / "fork"
    write_log(old, leaves(300))
    write_log(fork, [*leaves(100)[:99], leaf(99, kind="other", oid=None)])
    write_log(tmp_path / "now", leaves(700))
    assert verdict_of(tmp_path / "now", (old / "checkpoint").read_bytes()).code == OK
    forked = verdict_of(tmp_path / "now", (fork / "checkpoint").read_bytes())
    assert forked.code == INCONSISTENT
    shrunk = verdict_of(old, (tmp_path / "now" / "checkpoint").read_bytes())
    assert shrunk.code == INCONSISTENT


def story(*changes):
    """Signed records that contradict each other: `changes` of the record with that index."""
    made = leaves(4, orders=1)
    for index, change in changes:
        made[index] = leaf(index, **change)
    return made


@pytest.mark.parametrize(
    ("changes", "first_bad"),
    [
        ([(2, {"index": 3})], 2),
        ([(2, {"rt_ns": 1})], 2),
        ([(2, {"log": "portcullis.test/another"})], 2),
        ([(2, {"oid": "o-0", "on": 4, "op": b"\x01" * 32})], 2),
        ([(0, {"oid": "o-0", "on": 2, "op": b"\x01" * 32})], 0),
        ([(1, {"oid": "o-0", "on": 2, "op": b"\x01" * 32})], 1),
        ([(1, {"oid": "o-0", "on": 1})], 1),
    ],
)
def test_signed_records_that_contradict_each_other_are_inconsistent(tmp_path, changes, first_bad):
    write_log(tmp_path, story(*changes))
    verdict = verdict_of(tmp_path)
    assert (verdict.code, verdict.first_bad_index) == (INCONSISTENT, first_bad)


def test_a_signed_entry_that_is_no_record_is_inconsistent(tmp_path):
    write_log(tmp_path, [leaf(0), b"not JSON", leaf(2)])
    verdict = verdict_of(tmp_path)
    assert (verdict.code, verdict.first_bad_index) == (INCONSISTENT, 1)


def test_another_key_verifies_nothing(tmp_path):
    write_log(tmp_path, leaves(3))
    stranger = type(KEY)(KEY.name, bytes(32))
    assert verify_log(tmp_path, str(stranger)).code == TAMPERED


def test_the_program_needs_the_files_and_two_packages_alone(tmp_path):
    """Run as an examiner would; nothing of ours but the formats, and no database driver, is loaded."""
    write_log(tmp_path, leaves(5))
    ran = subprocess.run(
        [sys.executable, "-m", "audit.verifier", str(tmp_path), "--vkey", str(KEY)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (OK, "")
    assert ran.stdout.startswith("verified: portcullis.test/1b2c\n  5 records")
    loaded = (
        "import sys; old = set(sys.modules); import audit.verifier;"
        "print({n.split('.')[0] for n in set(sys.modules) - old} - sys.stdlib_module_names)"
    )
    seen = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    assert eval(seen.stdout) <= {"audit", "cryptography", "_cffi_backend", "_openssl"}


def test_the_exit_status_is_the_verdict(tmp_path, capsys):
    write_log(tmp_path, leaves(5))
    key_file = str(tmp_path / "vkey")
    assert main([str(tmp_path), "--vkey-file", key_file]) == OK
    bundle = tmp_path / "tile/entries/000.p/5"
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"]")
    assert main([str(tmp_path), "--vkey-file", key_file]) == TAMPERED
    assert "first bad index: 4" in capsys.readouterr().out
    assert main([str(tmp_path / "none"), "--vkey", str(KEY), "--json"]) == INCOMPLETE


def test_the_chain_in_the_fake_is_real(tmp_path):
    """Guards the tests above: the fake's own records do chain."""
    made = leaves(4, orders=1)
    assert leaf_hash(made[0]).hex() in made[1].decode()
