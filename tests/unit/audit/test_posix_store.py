"""Files are written once, whole, and the same name never holds two things."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from datetime import UTC, datetime

import pytest

from audit.manifest import File
from audit.worm import posix, sealer
from audit.worm.immutable import file_is_immutable, is_immutable, make_mutable
from audit.worm.port import Conflict
from audit.worm.posix import PosixStore
from audit.worm.sealing import SealerClient

UNTIL = datetime(2033, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path):
    made = PosixStore(tmp_path / "log")
    made.open()
    return made


def without_tmpfile(monkeypatch):
    """A file system that lacks O_TMPFILE."""
    real = os.open

    def refuse(path, flags, *rest, **more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(posix.os, "open", refuse)


@pytest.mark.parametrize("has_tmpfile", [True, False])
def test_the_same_bytes_again_are_fine_and_other_bytes_a_conflict(
    store, tmp_path, monkeypatch, has_tmpfile
):
    if not has_tmpfile:
        without_tmpfile(monkeypatch)
    for _ in range(2):
        store.create([("tile/0/000", b"x" * 32), ("tile/1/000.p/1", b"y" * 32)], seal=False)
    with pytest.raises(Conflict):
        store.create([("tile/0/000", b"z" * 32)], seal=False)
    assert store.read("tile/0/000") == b"x" * 32
    assert store.names() == ["tile/0/000", "tile/1/000.p/1"]
    assert not list(tmp_path.rglob(".new-*"))


def test_two_writers_that_race_for_a_name_cannot_both_win(store, monkeypatch):
    store.create([("a", b"first")], seal=False)
    monkeypatch.setattr(posix.Path, "exists", lambda self: False)  # as it was a moment ago
    with pytest.raises(Conflict):
        store.create([("a", b"second")], seal=False)
    assert store.read("a") == b"first"


def test_the_checkpoint_is_replaced_whole_and_left_overs_go_at_the_next_start(store, tmp_path):
    store.replace("checkpoint", b"one")
    store.replace("checkpoint", b"two")
    (tmp_path / "log/.new-left").write_bytes(b"half")
    PosixStore(tmp_path / "log").open()
    assert store.read("checkpoint") == b"two"
    assert [p.name for p in (tmp_path / "log").iterdir()] == ["checkpoint"]


def test_pruning_what_is_gone_is_no_error_and_empty_folders_go(store, tmp_path):
    store.create([("tile/0/000.p/1", b"x"), ("tile/0/000.p/2", b"y")], seal=False)
    store.prune(["tile/0/000.p/1", "tile/0/000.p/9"])
    assert store.names() == ["tile/0/000.p/2"]
    store.prune(["tile/0/000.p/2"])
    assert not (tmp_path / "log/tile/0/000.p").exists()


class Sealing:
    """A sealer in this process. `lame`: it says that it can, and does nothing."""

    def __init__(self, lame=False):
        self.lame = lame

    def seal(self, store, names):
        for name in names:
            if not self.lame:
                sealer.seal(store, name)

    def holds(self, store):
        return True


@pytest.fixture
def log_dir(tmp_path):
    """`<store>/<log id>`; what was made immutable in it can be removed afterwards."""
    yield tmp_path / str(uuid.UUID(int=7))
    for path in tmp_path.rglob("*"):
        if path.is_file():
            make_removable(path)


def may_set_flags(directory):
    return sealer.probe(directory) is None


def test_kept_is_enforced_only_where_the_file_resists_and_advisory_elsewhere(tmp_path, log_dir):
    """With the right (root on ext4) the flag holds; without it the store says so. Never both."""
    store = PosixStore(log_dir, Sealing())
    store.open()
    store.create([("tile/0/000", b"x" * 8192)], seal=True)
    (kept,) = store.keep(["tile/0/000"], UNTIL)
    assert kept == File("tile/0/000", hashlib.sha256(b"x" * 8192).hexdigest(), 8192, UNTIL)
    assert store.worm == ("enforced" if may_set_flags(tmp_path) else "advisory")
    if store.worm == "enforced":
        with pytest.raises(PermissionError):
            (log_dir / "tile/0/000").unlink()


def test_a_sealer_that_only_says_it_seals_is_not_believed(log_dir):
    store = PosixStore(log_dir, Sealing(lame=True))
    store.open()
    store.create([("tile/0/000", b"x" * 8192)], seal=True)
    store.keep(["tile/0/000"], UNTIL)
    assert store.worm == "advisory"


def test_what_a_sealer_missed_is_asked_for_again_with_the_next_file(tmp_path, log_dir):
    if not may_set_flags(tmp_path):
        return
    sealing = Sealing(lame=True)
    store = PosixStore(log_dir, sealing)
    store.open()
    names = ["tile/0/000", "tile/0/001"]
    store.create([(name, b"x" * 8192) for name in names], seal=True)
    store.keep(names[:1], UNTIL)
    sealing.lame = False
    store.keep(names[1:], UNTIL)
    assert store.worm == "enforced"
    assert all(file_is_immutable(log_dir / name) for name in names)


def test_without_a_sealer_nothing_is_sealed(store, tmp_path):
    store.create([("tile/0/000", b"x")], seal=True)
    store.keep(["tile/0/000"], UNTIL)
    assert store.worm == "advisory"
    (tmp_path / "log/tile/0/000").unlink()


def test_a_sealer_that_is_away_makes_the_store_advisory_and_nothing_else(tmp_path, log_dir):
    store = PosixStore(log_dir, SealerClient(tmp_path / "nobody.sock"))
    store.open()
    store.create([("tile/0/000", b"x")], seal=True)
    assert store.keep(["tile/0/000"], UNTIL)[0].size == 1
    assert store.worm == "advisory"


def make_removable(path):
    descriptor = os.open(path, os.O_RDONLY)
    if is_immutable(descriptor):
        make_mutable(descriptor)
    os.close(descriptor)
