"""The sealer seals what is finished, nothing else, whoever asks; and it has one right, no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid

import pytest

from audit.worm import sealer
from audit.worm.immutable import file_is_immutable
from audit.worm.sealer import Sealer, seals
from tests.unit.audit.test_posix_store import make_removable, may_set_flags

LOG = str(uuid.UUID(int=7))


@pytest.fixture
def store(tmp_path):
    inside = tmp_path / "store"
    inside.mkdir()
    yield inside
    for path in inside.rglob("*"):
        if path.is_file() and not path.is_symlink():
            make_removable(path)


def write(store, name, size=8192):
    path = store / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


@pytest.mark.parametrize(
    ("name", "finished"),
    [
        (f"{LOG}/tile/0/000", True),
        (f"{LOG}/tile/2/x001/234", True),
        (f"{LOG}/tile/entries/000", True),
        (f"{LOG}/manifest/000", True),
        (f"{LOG}/tile/0/000.p/3", False),
        (f"{LOG}/checkpoint", False),
        (f"{LOG}/vkey", False),
        (f"{LOG}/tile/0/../0/000", False),
        (f"{LOG}/.new-1", False),
        ("other/tile/0/000", False),
        ("recorder.lock", False),
        (f"/{LOG}/tile/0/000", False),
    ],
)
def test_only_finished_files_of_a_log_are_sealed(name, finished):
    assert seals(name) is finished


def test_a_tile_that_is_too_short_to_be_full_is_not_sealed(store):
    path = write(store, f"{LOG}/tile/0/000", 8191)
    assert not sealer.seal(store, f"{LOG}/tile/0/000")
    assert not file_is_immutable(path)


def test_nothing_is_sealed_through_a_symbolic_link(store, tmp_path):
    """Neither the file nor a directory on the way: else a recorder could point us at anything."""
    aim = write(tmp_path, "elsewhere/0/000")
    (store / LOG).mkdir()
    (store / LOG / "tile").symlink_to(tmp_path / "elsewhere")
    assert not sealer.seal(store, f"{LOG}/tile/0/000")
    (store / LOG / "tile").unlink()
    (store / LOG / "tile/0").mkdir(parents=True)
    (store / LOG / "tile/0/000").symlink_to(aim)
    assert not sealer.seal(store, f"{LOG}/tile/0/000")
    assert not file_is_immutable(aim)


def test_a_scan_seals_what_a_time_without_the_sealer_left(store):
    full = write(store, f"{LOG}/tile/0/000")
    partial = write(store, f"{LOG}/tile/0/001.p/3", 96)
    may = may_set_flags(store)
    assert sealer.scan(store) == ((1, 0) if may else (0, 1))
    assert file_is_immutable(full) is may
    assert not file_is_immutable(partial)


def test_no_request_takes_a_flag_off_or_reaches_another_directory(store, tmp_path):
    path = write(store, f"{LOG}/tile/0/000")
    one = Sealer([store])
    sealed = json.dumps({"store": str(store), "seal": [f"{LOG}/tile/0/000"]}).encode()
    assert one.answer(sealed) == {"sealed": [may_set_flags(store)]}
    for request in (
        {"store": str(store), "unseal": [f"{LOG}/tile/0/000"]},
        {"store": str(tmp_path), "seal": [f"{LOG}/tile/0/000"]},
        {"store": str(store)},
        ["seal"],
        "x",
    ):
        assert "error" in one.answer(json.dumps(request).encode())
    assert "error" in one.answer(b"\xff{")
    assert file_is_immutable(path) is may_set_flags(store)


def rights_after(call):
    program = (
        "from audit.worm import rights\n"
        f"{call}\n"
        "import subprocess, threading\n"
        "read = lambda: [l for l in open('/proc/thread-self/status') if l.startswith('CapEff')]\n"
        "seen = read(); t = threading.Thread(target=lambda: seen.extend(read())); t.start(); t.join()\n"
        "seen += [l for l in subprocess.run(['cat', '/proc/self/status'], capture_output=True,"
        " text=True).stdout.splitlines() if l.startswith('CapEff')]\n"
        "print(*(line.split()[1] for line in seen))\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return [int(word, 16) for word in shown.stdout.split()]


def test_the_sealer_keeps_one_right_and_a_recorder_gives_exactly_that_one_up():
    """In the thread that did it and in later ones; a recorder's children do not get it back."""
    bit = 1 << 9
    here, thread, _ = rights_after("rights.keep_only(9)")
    assert here | thread in (bit, 0)
    recorder = rights_after("rights.give_up(9)")
    assert not any(one & bit for one in recorder)
    if os.geteuid() == 0:
        assert recorder[0] != 0
