"""Readers that know nothing of us accept our logs and refuse what our verifier refuses.

Go's golang.org/x/mod/sumdb is obligatory: `./appliance test` installs Debian's `golang-go` and
`golang-golang-x-mod-dev`. `aics-tlog` reads along where Python is new enough for it (3.12).
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from audit.verdict import OK
from audit.verifier import verify_log
from tests.fakes.audit_log import KEY, files_of, leaves, write_log
from tests.fixtures.audit import entry

SOURCE = Path(__file__).parent / "go_sumdb" / "main.go"
GO_PACKAGES = Path("/usr/share/gocode")


@pytest.fixture(scope="session")
def go_reader(tmp_path_factory):
    """The compiled Go program. Fails, and does not skip, where Go is missing."""
    go = shutil.which("go")
    sumdb = GO_PACKAGES / "src/golang.org/x/mod/sumdb/tlog"
    if go is None or not sumdb.is_dir():
        pytest.fail(
            "Go or its sumdb packages are missing: apt-get install golang-go golang-golang-x-mod-dev"
        )
    built = tmp_path_factory.mktemp("go") / "go_sumdb"
    environment = os.environ | {
        "GO111MODULE": "off", "GOPATH": str(GO_PACKAGES), "GOFLAGS": "", "CGO_ENABLED": "0",
        "GOCACHE": str(built.parent / "cache"),
    }  # fmt: skip
    subprocess.run([go, "build", "-o", str(built), str(SOURCE)], env=environment, check=True)
    return built


def go_says(go_reader, directory, key=KEY):
    done = subprocess.run(
        [str(go_reader), str(directory), str(key)], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode == 0, done.stdout


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 512, 1000])
def test_go_proves_every_leaf_of_our_log(go_reader, tmp_path, size):
    write_log(tmp_path, leaves(size))
    assert go_says(go_reader, tmp_path) == (True, f"ok {size}\n")


def test_go_proves_a_log_with_a_third_level_of_tiles(go_reader, tmp_path):
    write_log(tmp_path, [b"%d" % n for n in range(65_536 + 300)])
    assert go_says(go_reader, tmp_path)[0]


async def test_go_proves_what_the_recorder_published(go_reader, bench):
    await bench.append([entry(n, oid=f"o-{n % 5}") for n in range(600)])
    await bench.recorder.drain()
    assert go_says(go_reader, bench.directory, bench.log.key) == (True, "ok 600\n")


def test_go_refuses_single_bits_that_our_verifier_refuses(go_reader, tmp_path):
    """Every file of a log with full and partial tiles, a handful of its bits each."""
    chance = random.Random(11)
    write_log(tmp_path, leaves(300))
    for path in files_of(tmp_path):
        if path.name == "vkey":
            continue  # Go takes the key from the command line
        right = path.read_bytes()
        for _ in range(8):
            at = chance.randrange(len(right) * 8)
            changed = bytearray(right)
            changed[at // 8] ^= 1 << at % 8
            path.write_bytes(bytes(changed))
            assert not go_says(go_reader, tmp_path)[0], (path, at)
            assert verify_log(tmp_path, str(KEY)).code != OK, (path, at)
        path.write_bytes(right)
    assert go_says(go_reader, tmp_path)[0]


if sys.version_info >= (3, 12):

    @pytest.mark.parametrize("size", [1, 255, 256, 257, 1000])
    def test_aics_tlog_proves_every_tile_and_entry_of_our_log(tmp_path, size):
        import aics_tlog
        from aics_tlog.note import parse_note, parse_vkey
        from aics_tlog.tiles import FileSystemTileReader

        entries = leaves(size)
        write_log(tmp_path, entries)
        note = parse_note((tmp_path / "checkpoint").read_bytes())
        head = aics_tlog.verify_checkpoint(note, parse_vkey(str(KEY)), [], quorum=0)
        assert (head.ok, head.size) == (True, size)
        reader = aics_tlog.VerifiedTileReader(FileSystemTileReader(tmp_path), size, head.root)
        for index in {0, size // 2, size - 1}:
            proof = aics_tlog.inclusion_proof_from_tiles(reader, index, size)
            assert aics_tlog.verify_leaf_inclusion(entries[index], index, size, proof, head.root)
            assert reader.entry(index) == entries[index]
