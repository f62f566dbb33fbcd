"""The verdict on a directory: right for a right log, and never `verified` for a changed one."""

from __future__ import annotations

import base64
import gzip
import random
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from audit import verifier, verifier_stretch
from audit.cosignature import Cosigner, cosigned_text
from audit.merkle import leaf_hash
from audit.policy import parse_policy
from audit.verdict import INCOMPLETE, INCONSISTENT, OK, TAMPERED, UNWITNESSED
from audit.verifier import main, verify_log
from audit.verifier_evidence import Evidence
from tests.fakes.audit_log import KEY, PRIVATE, files_of, leaf, leaves, write_log


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
    assert eval(seen.stdout) <= {
        "audit", "cryptography", "_cffi_backend", "_openssl", "__mp_main__",
    }  # fmt: skip


def test_the_exit_status_is_the_verdict(tmp_path, capsys):
    write_log(tmp_path, leaves(5))
    key_file = str(tmp_path / "vkey")
    assert main([str(tmp_path), "--vkey-file", key_file]) == OK
    bundle = tmp_path / "tile/entries/000.p/5"
    bundle.write_bytes(bundle.read_bytes()[:-1] + b"]")
    assert main([str(tmp_path), "--vkey-file", key_file]) == TAMPERED
    assert "first bad index: 4" in capsys.readouterr().out
    assert main([str(tmp_path / "none"), "--vkey", str(KEY), "--json"]) == INCOMPLETE


def test_several_processes_find_what_one_finds(tmp_path, monkeypatch):
    """Two stretches, a partial one last; once right, once with a change in the first."""
    monkeypatch.setattr(verifier, "WORTH_PROCESSES", 0)
    entries = leaves(16_384 + 300, orders=7)
    write_log(tmp_path, entries, stops=[16_500])
    write_log(tmp_path / "old", entries[:16_500])
    since = (tmp_path / "old/checkpoint").read_bytes()

    def both():
        found = [verify_log(tmp_path, str(KEY), since, jobs=jobs).as_json() for jobs in (1, 2)]
        assert found[0] == found[1]
        return found[0]

    shutil.rmtree(tmp_path / "old")
    assert (both()["verdict"], both()["size"], both()["orders"]) == ("verified", 16_684, 7)
    bundle = tmp_path / "tile/entries/030"
    bundle.write_bytes(bundle.read_bytes().replace(b"order.fill", b"order.FILL", 1))
    assert (both()["verdict"], both()["first_bad_index"]) == ("tampered", 30 * 256)


@pytest.mark.parametrize("size", [256, 257, 600])
@pytest.mark.parametrize("change", [{"oid": "o-0", "on": 9, "op": b"\x01" * 32}, {"rt_ns": 1}])
def test_a_break_between_two_stretches_is_named(tmp_path, size, change, monkeypatch):
    for module in (verifier, verifier_stretch):
        monkeypatch.setattr(module, "BUNDLES", 1)
    entries = leaves(size, orders=2)
    assert _verdict_of_signed(tmp_path / "right", entries).code == OK
    at = 256 if size > 256 else size - 1
    entries[at] = leaf(at, **{"oid": None, **change})
    found = _verdict_of_signed(tmp_path / "wrong", entries)
    assert (found.code, found.first_bad_index) == (INCONSISTENT, at)


def _verdict_of_signed(directory, entries):
    directory.mkdir()
    write_log(directory, entries)
    return verdict_of(directory)


@pytest.mark.parametrize("old", [0, 1, 255, 256, 257, 512, 599, 600])
def test_every_older_size_is_shown_to_be_extended_or_not(tmp_path, old):
    write_log(tmp_path / "now", leaves(600))
    write_log(tmp_path / "old", leaves(old))
    assert verdict_of(tmp_path / "now", (tmp_path / "old/checkpoint").read_bytes()).code == OK
    if old:
        fork = [*leaves(old)[:-1], leaf(old - 1, kind="other", oid=None)]
        write_log(tmp_path / "fork", fork)
        forked = verdict_of(tmp_path / "now", (tmp_path / "fork/checkpoint").read_bytes())
        assert [f.code for f in forked.findings] == [INCONSISTENT]


def test_a_record_changed_with_its_leaf_hash_is_found_by_the_tile_above(tmp_path):
    """Whoever rewrites bundle and tile alike is found 256 records broad."""
    entries = leaves(1000)
    write_log(tmp_path, entries)
    forged = tmp_path / "forged"
    entries[600] = leaf(600, kind="other", oid=None)
    write_log(forged, entries)
    for name in ("tile/entries/002", "tile/0/002"):
        shutil.copy(forged / name, tmp_path / name)
    shutil.rmtree(forged)
    verdict = verdict_of(tmp_path)
    assert (verdict.code, verdict.findings[-1].index) == (TAMPERED, 512)


def test_a_dropped_tail_is_named_by_its_first_missing_record(tmp_path):
    write_log(tmp_path, leaves(700))
    shutil.rmtree(tmp_path / "tile/entries/002.p")
    (tmp_path / "tile/entries/001").unlink()
    verdict = verdict_of(tmp_path)
    assert (verdict.code, verdict.first_bad_index) == (INCOMPLETE, 256)


def test_without_the_policys_witnesses_a_right_log_is_unwitnessed(tmp_path):
    write_log(tmp_path, leaves(3))
    witness = Cosigner("witness.test/1", PRIVATE.public_key().public_bytes_raw())
    policy = f"witness one {witness}\nquorum one\n"
    assert (
        verify_log(tmp_path, str(KEY), evidence=Evidence(parse_policy(policy.encode()))).code
        == UNWITNESSED
    )
    assert (
        verify_log(tmp_path, str(KEY), evidence=Evidence(parse_policy(b"quorum none\n"))).code == OK
    )
    file = tmp_path.parent / "policy"
    file.write_text(policy)
    assert main([str(tmp_path), "--vkey", str(KEY), "--policy", str(file)]) == UNWITNESSED

    note = (tmp_path / "checkpoint").read_bytes()
    text = note.split(b"\n\n")[0].decode() + "\n"
    for signed, code in ((text, OK), (text + "x", TAMPERED)):
        word = (5).to_bytes(8, "big") + PRIVATE.sign(cosigned_text(5, signed))
        line = f"— {witness.name} {base64.b64encode(witness.key_id + word).decode()}\n"
        (tmp_path / "checkpoint").write_bytes(note + line.encode())
        assert main([str(tmp_path), "--vkey", str(KEY), "--policy", str(file)]) == code
    (tmp_path / "tile/entries/000.p/3").unlink()
    assert main([str(tmp_path), "--vkey", str(KEY), "--policy", str(file)]) == TAMPERED


def test_what_was_asked_wrongly_is_no_verdict(tmp_path, capsys):
    write_log(tmp_path, leaves(3))
    absent = str(tmp_path / "absent")
    assert main([str(tmp_path), "--vkey-file", absent]) == 1
    assert main([str(tmp_path), "--vkey", str(KEY), "--policy", str(tmp_path / "vkey")]) == 1
    assert "cannot verify" in capsys.readouterr().err


class Quiet(SimpleHTTPRequestHandler):
    """Serves a log's files; some of them compressed, as C2SP asks readers to expect."""

    def do_GET(self):
        if self.path == "/broken/checkpoint":
            self.send_error(503)
            return
        path = Path(self.directory, self.path.lstrip("/"))
        if not path.is_file():
            self.send_error(404)
            return
        data = gzip.compress(path.read_bytes()) if "entries" in self.path else path.read_bytes()
        self.send_response(200)
        if "entries" in self.path:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def address(tmp_path):
    """An address that serves tmp_path."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_log_behind_an_address_is_verified_and_its_changes_are_found(tmp_path, address, capsys):
    write_log(tmp_path, leaves(600))
    assert main([address, "--vkey", str(KEY)]) == OK
    assert "600 records" in capsys.readouterr().out
    for name, code in (
        ("tile/entries/001", TAMPERED), ("tile/0/001", TAMPERED), ("tile/1/000.p/2", TAMPERED),
        ("checkpoint", TAMPERED),
    ):  # fmt: skip
        path = tmp_path / name
        right = path.read_bytes()
        path.write_bytes(right[:-40] + bytes([right[-40] ^ 1]) + right[-39:])
        assert main([address, "--vkey", str(KEY)]) == code, name
        path.unlink()
        assert main([address, "--vkey", str(KEY)]) == INCOMPLETE, name
        path.write_bytes(right)
    assert main([address, "--vkey", str(KEY)]) == OK


def test_an_address_that_does_not_answer_gives_no_good_verdict(tmp_path, address, capsys):
    assert main([f"{address}/broken", "--vkey", str(KEY)]) == INCOMPLETE
    assert "answered 503" in capsys.readouterr().out
    assert main(["http://127.0.0.1:9", "--vkey", str(KEY)]) == INCOMPLETE


def test_the_chain_in_the_fake_is_real(tmp_path):
    """Guards the tests above: the fake's own records do chain."""
    made = leaves(4, orders=1)
    assert leaf_hash(made[0]).hex() in made[1].decode()
